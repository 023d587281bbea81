//! What a Check may ask: every violation is reported, with its field's path as in the proto.

use chassis::status::FieldViolation;
use rpc::ratelimit::v1 as pb;

use crate::limiter::Descriptor;

const NAME_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 1024;
const DESCRIPTORS_MAX: usize = 16;
const ENTRIES_MAX: usize = 16;

/// The descriptors of a Check whose fields are all right.
pub(super) fn descriptors(request: pb::CheckRequest) -> Result<Vec<Descriptor>, Vec<FieldViolation>> {
    let violations = violations(&request);
    if violations.is_empty() {
        Ok(request.descriptors.into_iter().map(descriptor).collect())
    } else {
        Err(violations)
    }
}

fn descriptor(descriptor: pb::Descriptor) -> Descriptor {
    let entries = descriptor.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    // As the proto has it, 0 counts as 1.
    Descriptor { entries, cost: descriptor.cost.max(1) }
}

fn violations(request: &pb::CheckRequest) -> Vec<FieldViolation> {
    let mut violations = Vec::new();
    let mut expect = |right: bool, field: String, description: String| {
        if !right {
            violations.push(FieldViolation { field, description });
        }
    };
    expect(is_name(&request.domain), "domain".into(), name_expected());
    expect(
        is_count(request.descriptors.len(), DESCRIPTORS_MAX),
        "descriptors".into(),
        count_expected(DESCRIPTORS_MAX),
    );
    for (d, descriptor) in request.descriptors.iter().take(DESCRIPTORS_MAX).enumerate() {
        let entries = format!("descriptors[{d}].entries");
        expect(is_count(descriptor.entries.len(), ENTRIES_MAX), entries.clone(), count_expected(ENTRIES_MAX));
        for (e, entry) in descriptor.entries.iter().take(ENTRIES_MAX).enumerate() {
            expect(is_name(&entry.key), format!("{entries}[{e}].key"), name_expected());
            let short = entry.value.len() <= VALUE_BYTES_MAX;
            expect(
                short,
                format!("{entries}[{e}].value"),
                format!("must have at most {VALUE_BYTES_MAX} bytes"),
            );
        }
    }
    violations
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

fn is_count(count: usize, max: usize) -> bool {
    (1..=max).contains(&count)
}

fn name_expected() -> String {
    format!("must have 1 to {NAME_BYTES_MAX} bytes")
}

fn count_expected(max: usize) -> String {
    format!("must have 1 to {max} elements")
}
