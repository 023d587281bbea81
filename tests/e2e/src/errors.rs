//! What is demanded of every error, and reading its google.rpc details.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Words that could only come from inside: of the stores, their libraries, the machine, or the code.
const INTERNAL: [&str; 16] = [
    "sql",
    "postgres",
    "redis",
    "rabbit",
    "amqp",
    "lapin",
    "select ",
    "insert ",
    "relation",
    "127.0.0.1",
    "localhost",
    "panicked",
    ".rs",
    "/tmp",
    "os error",
    "connection refused",
];

/// Everything about an error that a client can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    code: Code,
    message: String,
    details: Vec<u8>,
    headers: Vec<String>,
}

/// What a client sees of an error, without the time of day.
pub fn visible(status: &Status) -> Visible {
    let headers = status.metadata().clone().into_headers();
    let mut headers: Vec<String> =
        headers.iter().filter(|(name, _)| *name != "date").map(|header| format!("{header:?}")).collect();
    headers.sort();
    let message = status.message().to_owned();
    Visible { code: status.code(), message, details: status.details().to_vec(), headers }
}

/// The paths of the fields that its `BadRequest` names.
pub fn violated_fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|bad_request| bad_request.field_violations);
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

/// Demands an `ErrorInfo`, a message, and nothing that was not meant for the client.
///
/// # Panics
/// When something of it is missing.
#[expect(clippy::panic, reason = "a test fails by panicking")]
pub fn assert_explained(status: &Status) {
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    let named = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    assert!(!info.reason.is_empty() && named(&info.reason), "no reason: {info:?}");
    assert!(["snippets", "ratelimit", "counter-worker"].contains(&info.domain.as_str()), "{info:?}");
    assert!(!status.message().is_empty(), "no message: {status:?}");
    let text = format!("{} {:?}", status.message(), status.get_error_details()).to_lowercase();
    for word in INTERNAL {
        assert!(!text.contains(word), "{word:?} was given away: {text}");
    }
}
