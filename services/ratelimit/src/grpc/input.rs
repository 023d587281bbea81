//! What a request may hold: every violation is reported, with its field's path as in the proto.

use std::fmt::{self, Display};

use chassis::status::{Error, FieldViolation};
use rpc::ratelimit::v1 as pb;
use tonic::Status;

use crate::limiter::Descriptor;

const NAME_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 1024;
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Those beyond are not looked at.
pub(super) const DESCRIPTORS_MAX: usize = 16;
const ENTRIES_MAX: usize = 16;
const TOP_DENIED_DEFAULT: usize = 10;
const TOP_DENIED_MAX: usize = 100;

/// Notes what is wrong.
#[derive(Default)]
pub(super) struct Input(Vec<FieldViolation>);

impl Input {
    /// Most requests are right, so what is wrong is put into words only then.
    pub fn expect(&mut self, right: bool, field: impl Display, description: impl Display) {
        if !right {
            self.0.push(FieldViolation { field: field.to_string(), description: description.to_string() });
        }
    }

    /// Nothing was wrong.
    pub fn finish(self) -> Result<(), Status> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::invalid_argument(self.0).into()) }
    }

    pub fn domain(&mut self, domain: &str) {
        self.name(domain, "domain");
    }

    pub fn request_id(&mut self, request_id: &str) {
        let right =
            (1..=REQUEST_ID_BYTES_MAX).contains(&request_id.len()) && !request_id.contains(char::is_control);
        self.expect(
            right,
            "request_id",
            format_args!("must have 1 to {REQUEST_ID_BYTES_MAX} bytes and no control characters"),
        );
    }

    /// How many of the denied are wanted; 0 stands for the default.
    pub fn top_denied(&mut self, limit: i32) -> usize {
        let wanted = usize::try_from(limit).ok().filter(|wanted| *wanted <= TOP_DENIED_MAX);
        self.expect(wanted.is_some(), "limit", format_args!("must be from 0 to {TOP_DENIED_MAX}"));
        wanted.filter(|wanted| *wanted > 0).unwrap_or(TOP_DENIED_DEFAULT)
    }

    pub fn descriptors(&mut self, descriptors: Vec<pb::Descriptor>) -> Vec<Descriptor> {
        self.count_descriptors(descriptors.len());
        let descriptors: Vec<_> = descriptors.into_iter().map(descriptor).collect();
        for (d, descriptor) in descriptors.iter().take(DESCRIPTORS_MAX).enumerate() {
            self.keys(&descriptor.entries, format_args!("descriptors[{d}].entries"));
            self.values(&descriptor.entries, format_args!("descriptors[{d}].entries"));
        }
        descriptors
    }

    pub fn count_descriptors(&mut self, count: usize) {
        self.count(count, DESCRIPTORS_MAX, "descriptors");
    }

    /// How many entries there are, and their keys.
    pub fn keys(&mut self, entries: &[(String, String)], field: fmt::Arguments<'_>) {
        self.count(entries.len(), ENTRIES_MAX, field);
        for (e, (key, _)) in entries.iter().take(ENTRIES_MAX).enumerate() {
            self.name(key, format_args!("{field}[{e}].key"));
        }
    }

    fn values(&mut self, entries: &[(String, String)], field: fmt::Arguments<'_>) {
        for (e, (_, value)) in entries.iter().take(ENTRIES_MAX).enumerate() {
            self.expect(
                value.len() <= VALUE_BYTES_MAX,
                format_args!("{field}[{e}].value"),
                format_args!("must have at most {VALUE_BYTES_MAX} bytes"),
            );
        }
    }

    fn name(&mut self, name: &str, field: impl Display) {
        let right = (1..=NAME_BYTES_MAX).contains(&name.len());
        self.expect(right, field, format_args!("must have 1 to {NAME_BYTES_MAX} bytes"));
    }

    fn count(&mut self, count: usize, max: usize, field: impl Display) {
        self.expect((1..=max).contains(&count), field, format_args!("must have 1 to {max} elements"));
    }
}

fn descriptor(descriptor: pb::Descriptor) -> Descriptor {
    let entries = descriptor.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    // As the proto has it, 0 counts as 1.
    Descriptor { entries, cost: descriptor.cost.max(1), limit: None }
}
