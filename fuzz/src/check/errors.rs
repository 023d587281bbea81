//! What a client may be told when a call fails.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Most bytes of a status in the trailers. Clients on gRPC's C core take 8 KiB of metadata, other headers included, and beyond
/// that see a `RESOURCE_EXHAUSTED` of their own.
const STATUS_BYTES_MAX: usize = 7 * 1024;

/// Words of what goes on inside, none of which is a client's business.
const INTERNAL: [&str; 8] =
    ["panick", "::", ".rs", "receipt", "memo", "counters answered", "redis", "timed out"];

/// Fails unless the code is one of those that the method is documented to have, and the error says what it should.
pub fn is_documented(status: &Status, codes: &[Code]) {
    assert!(codes.contains(&status.code()), "{:?} is not documented: {status:?}", status.code());
    let message = status.message();
    assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
    assert!(!INTERNAL.iter().any(|word| message.contains(word)), "{message:?}");
    // In base64, as binary metadata is.
    let bytes = message.len() + status.details().len() / 3 * 4;
    assert!(bytes <= STATUS_BYTES_MAX, "{bytes} bytes of an error");
    let details = status.get_error_details();
    assert!(details.error_info().is_some_and(|info| !info.reason.is_empty()), "{status:?}");
    match status.code() {
        Code::InvalidArgument | Code::Unimplemented => {
            let fields = details.bad_request().map(|it| it.field_violations.as_slice()).unwrap_or_default();
            assert!(!fields.is_empty(), "{status:?}");
            for it in fields {
                assert!(is_path(&it.field) && !it.description.is_empty(), "{status:?}");
            }
            // Of many, the message has only the first.
            assert!(message.contains(&fields[0].field), "{status:?}");
        }
        Code::Unavailable => assert!(details.retry_info().is_some(), "{status:?}"),
        _ => {}
    }
}

/// Whether that is a path into a request, such as `descriptors[0].entries[1].key`.
fn is_path(field: &str) -> bool {
    const NAMES: [&str; 12] = [
        "domain",
        "descriptors",
        "request_id",
        "limit",
        "entries",
        "key",
        "value",
        "cost",
        "unit",
        "unit_multiplier",
        "hits_addend",
        "is_negative_hits",
    ];
    field.split('.').all(|part| {
        let (name, index) = part.split_once('[').map_or((part, None), |(name, index)| (name, Some(index)));
        let is_index = |index: &str| index.strip_suffix(']').is_some_and(|it| it.parse::<usize>().is_ok());
        NAMES.contains(&name) && index.is_none_or(is_index)
    })
}
