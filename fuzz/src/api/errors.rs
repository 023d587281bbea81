//! What a client may be told when a call fails.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::contract::{Contract, Method};

/// Most bytes of a status in the trailers. Clients on gRPC's C core take 8 KiB of metadata, other headers included, and beyond
/// that see a `RESOURCE_EXHAUSTED` of their own.
const STATUS_BYTES_MAX: usize = 7 * 1024;

/// Words of what goes on inside, none of which is a client's business.
const INTERNAL: [&str; 14] = [
    "panick",
    "::",
    ".rs",
    "sql",
    "select ",
    "insert ",
    "constraint",
    "no such",
    "database",
    "snippets.db",
    "os error",
    "task",
    "timed out",
    "/tmp",
];

/// Codes that no call has for its arguments. What needs nothing but this process is never away, either.
const NEVER: [Code; 9] = [
    Code::Ok,
    Code::Unknown,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Cancelled,
    Code::DeadlineExceeded,
    Code::Unimplemented,
    Code::ResourceExhausted,
];

/// Fails unless the method may fail so.
pub fn is_documented(contract: &Contract, method: &Method, status: &Status) {
    assert!(!NEVER.contains(&status.code()), "{}: {status:?}", method.path);
    let message = status.message();
    assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
    gives_nothing_away(message);
    // In base64, as binary metadata is.
    let bytes = message.len() + status.details().len() / 3 * 4;
    assert!(bytes <= STATUS_BYTES_MAX, "{bytes} bytes of an error");
    let details = status.get_error_details();
    assert!(details.error_info().is_some_and(|info| !info.reason.is_empty()), "{status:?}");
    if status.code() == Code::InvalidArgument {
        let fields = details.bad_request().map(|it| it.field_violations.as_slice()).unwrap_or_default();
        assert!(!fields.is_empty(), "{status:?}");
        for it in fields {
            assert!(contract.has_path(&method.input, &it.field), "{}: {status:?}", method.path);
            assert!(!it.description.is_empty(), "{status:?}");
            gives_nothing_away(&it.description);
        }
    }
}

/// Fails if a text says what is nobody's business. What is in quotes comes from the client.
pub fn gives_nothing_away(text: &str) {
    let own = match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) => format!("{}{}", &text[..first], &text[last..]),
        _ => text.to_owned(),
    };
    let own = own.to_lowercase();
    assert!(!INTERNAL.iter().any(|word| own.contains(word)), "{text:?}");
}
