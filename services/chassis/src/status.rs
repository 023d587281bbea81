//! The error model of every service: a gRPC status with google.rpc details, one `ErrorInfo` always.

use std::{sync::OnceLock, time::Duration};

use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of every error that this process answers with: the name of the app.
static DOMAIN: OnceLock<&'static str> = OnceLock::new();

/// An error travels in trailers. Clients built on gRPC's C core (Python, Ruby, C++) take 8 KiB of them, and see
/// RESOURCE_EXHAUSTED instead of what is larger.
const VIOLATIONS_MAX: usize = 20;
const VIOLATIONS_IN_MESSAGE_MAX: usize = 5;

pub(crate) fn set_domain(domain: &'static str) {
    // A second app in the same process (only tests do that) keeps the first name.
    let _ = DOMAIN.set(domain);
}

/// An error on its way to a client. Nothing in it is secret: causes belong into the log.
#[derive(Debug)]
pub struct Error {
    code: Code,
    message: String,
    details: ErrorDetails,
    metadata: MetadataMap,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path as in the proto, such as `snippet.tags[3]`.
    pub field: String,
    /// What would be right.
    pub description: String,
}

/// The limit that a denied request ran into.
#[derive(Debug, Clone)]
pub struct ExceededQuota {
    /// Who was limited, as a descriptor in words.
    pub subject: String,
    /// The rule's name.
    pub rule: String,
    /// Requests allowed.
    pub limit: u64,
    /// Requests left.
    pub remaining: u64,
    /// Until the same request could pass.
    pub retry_after: Duration,
    /// Until the limit is whole again.
    pub reset_after: Duration,
}

impl Error {
    /// An error with a machine-readable reason in `UPPER_SNAKE_CASE` and a message for people.
    pub fn new(code: Code, reason: &str, message: impl Into<String>) -> Self {
        let mut details = ErrorDetails::new();
        let domain = DOMAIN.get().copied().unwrap_or("unknown");
        details.set_error_info(reason, domain, std::collections::HashMap::new());
        Self { code, message: message.into(), details, metadata: MetadataMap::new() }
    }

    /// INVALID_ARGUMENT with a violation for each field that is wrong, up to twenty.
    pub fn invalid_argument(violations: impl IntoIterator<Item = FieldViolation>) -> Self {
        let violations: Vec<_> = violations.into_iter().collect();
        let told = violations.iter().take(VIOLATIONS_IN_MESSAGE_MAX);
        let mut message: Vec<_> = told.map(|it| format!("{}: {}", it.field, it.description)).collect();
        if violations.len() > VIOLATIONS_IN_MESSAGE_MAX {
            message.push(format!("and {} more", violations.len() - VIOLATIONS_IN_MESSAGE_MAX));
        }
        let mut error = Self::new(Code::InvalidArgument, "INVALID_ARGUMENT", message.join("; "));
        for violation in violations.into_iter().take(VIOLATIONS_MAX) {
            error.details.add_bad_request_violation(violation.field, violation.description);
        }
        error
    }

    /// UNIMPLEMENTED for a field whose time has not come, naming it.
    pub fn field_unimplemented(field: &str) -> Self {
        let mut error = Self::new(
            Code::Unimplemented,
            "FIELD_NOT_SUPPORTED",
            format!("{field}: not supported yet; leave it unset"),
        );
        error.details.add_bad_request_violation(field, "not supported yet; leave it unset");
        error
    }

    /// RESOURCE_EXHAUSTED with RetryInfo, QuotaFailure, and the `retry-after` and `ratelimit-*` metadata.
    pub fn rate_limited(quota: &ExceededQuota) -> Self {
        let mut error =
            Self::new(Code::ResourceExhausted, "RATE_LIMITED", format!("over the limit {:?}", quota.rule));
        error.details.set_retry_info(Some(quota.retry_after));
        error.details.add_quota_failure_violation(
            &quota.subject,
            format!("{}: {} allowed, try again in {:?}", quota.rule, quota.limit, quota.retry_after),
        );
        error.set_metadata("retry-after", ceil_seconds(quota.retry_after));
        error.set_metadata("ratelimit-limit", quota.limit);
        error.set_metadata("ratelimit-remaining", quota.remaining);
        error.set_metadata("ratelimit-reset", ceil_seconds(quota.reset_after));
        error
    }

    /// UNAVAILABLE with RetryInfo: something that the call needs is away.
    pub fn unavailable(reason: &str, message: impl Into<String>, retry_after: Duration) -> Self {
        let mut error = Self::new(Code::Unavailable, reason, message);
        error.details.set_retry_info(Some(retry_after));
        error
    }

    fn set_metadata(&mut self, key: &'static str, value: u64) {
        self.metadata.insert(key, value.into());
    }
}

/// Whole seconds, rounded up, at least 1: a client told to retry after 0 s comes back too early.
pub(crate) fn ceil_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Status::with_error_details_and_metadata(error.code, error.message, error.details, error.metadata)
    }
}

/// The same status with an `ErrorInfo` where it has no details, as what tonic itself refuses has none.
pub(crate) fn with_error_info(status: Status) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let (code, message) = (code_of_tonic(&status), status.message());
    let message = match code {
        // tonic says nothing of a method that it does not know.
        _ if message.is_empty() => code.description().to_owned(),
        Code::OutOfRange => format!("{message}; send a smaller message"),
        _ => message.to_owned(),
    };
    let mut error = Error::new(code, reason(code), message);
    // Such as the encodings that there are, where the message has another.
    error.metadata = status.metadata().clone();
    error.into()
}

/// tonic says RESOURCE_EXHAUSTED, which is for limits that come back, of a message that is too large once it is decompressed, and
/// INTERNAL of one that can't be.
fn code_of_tonic(status: &Status) -> Code {
    match status.code() {
        Code::ResourceExhausted => Code::OutOfRange,
        Code::Internal if status.message().starts_with("Error decompressing: ") => Code::InvalidArgument,
        code => code,
    }
}

/// The code's name, as in the gRPC specification.
pub(crate) fn reason(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_tells_when_to_come_back() {
        let status: Status = Error::rate_limited(&ExceededQuota {
            subject: "caller=a".into(),
            rule: "writes".into(),
            limit: 60,
            remaining: 0,
            retry_after: Duration::from_millis(1),
            reset_after: Duration::from_millis(1001),
        })
        .into();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
        assert_eq!(status.metadata().get("ratelimit-reset").unwrap(), "2");
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_millis(1)));
        assert_eq!(status.get_details_quota_failure().unwrap().violations[0].subject, "caller=a");
        assert_eq!(status.get_details_error_info().unwrap().reason, "RATE_LIMITED");
    }

    #[test]
    fn an_error_fits_into_the_trailers_that_clients_take() {
        let violation = |index| FieldViolation {
            field: format!("descriptors[{index}].entries[{index}].value"),
            description: "must have at most 1024 bytes and no control characters".into(),
        };
        let status: Status = Error::invalid_argument((0..100_000).map(violation)).into();
        assert!(status.message().ends_with("; and 99995 more"), "{}", status.message());
        assert_eq!(status.get_details_bad_request().unwrap().field_violations.len(), VIOLATIONS_MAX);
        let details_base64 = status.details().len().div_ceil(3) * 4;
        assert!(status.message().len() + details_base64 < 6 * 1024);
    }

    #[test]
    fn what_tonic_refuses_gets_an_error_info() {
        let status = with_error_info(Status::out_of_range("decoded message length too large"));
        assert_eq!(status.get_details_error_info().unwrap().reason, "OUT_OF_RANGE");
        let bomb = with_error_info(Status::resource_exhausted("Error decompressing: size limit"));
        assert_eq!(bomb.code(), Code::OutOfRange);
        assert_eq!(bomb.message(), "Error decompressing: size limit; send a smaller message");
        let nonsense = with_error_info(Status::internal("Error decompressing: no gzip"));
        assert_eq!(nonsense.code(), Code::InvalidArgument);
        let mut unknown = Status::unimplemented("Content is compressed with `br`");
        unknown.metadata_mut().insert("grpc-accept-encoding", "gzip,identity".parse().unwrap());
        assert_eq!(with_error_info(unknown).metadata().get("grpc-accept-encoding").unwrap(), "gzip,identity");
    }
}
