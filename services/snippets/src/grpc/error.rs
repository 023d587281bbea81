//! Every way in which a call can fail, and the one place that turns it into a gRPC status.

use std::{sync::Arc, time::Duration};

use chassis::{
    LogGate,
    status::{Error, ExceededQuota, FieldViolation},
};
use tonic::{Code, Status};

use super::limit_misses::Missed;
use crate::{
    domain::{API_KEYS_MAX, Denial, SnippetId, Violations},
    ports::{AccountError, ChangeError, InsertError, RateLimitDenial, StoreError},
};

/// When a client should try again that met a store which is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error(transparent)]
    Invalid(#[from] Violations),
    #[error("the bodies have more than {bytes_max} bytes together")]
    BatchTooLarge { bytes_max: usize },
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error("the snippet {id} does not exist")]
    Missing { id: SnippetId },
    #[error("no such account or key")]
    AccountNotFound,
    #[error("the account has too many keys")]
    TooManyKeys,
    #[error("an API key is needed")]
    KeyNeeded,
    #[error("the API key is not valid")]
    KeyInvalid,
    #[error("only admins may")]
    AdminsOnly,
    #[error("the request id was used for another snippet")]
    RequestIdReused,
    #[error("the etag is stale")]
    StaleEtag,
    #[error("{subject} is over a limit")]
    RateLimited { subject: String, denial: RateLimitDenial },
    #[error("it is more than a limit ever lets pass at once")]
    NeverFits,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a bug: {0}")]
    Bug(&'static str),
}

impl ApiError {
    /// Why a snippet was denied; what was missed is kept in mind for who limits that.
    pub(super) fn about(id: &SnippetId, denial: Denial) -> Self {
        if denial == Denial::NotFound { Self::Missing { id: *id } } else { denial.into() }
    }
}

impl From<crate::domain::Violation> for ApiError {
    fn from(violation: crate::domain::Violation) -> Self {
        Self::Invalid(violation.into())
    }
}

impl From<InsertError> for ApiError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::IdTaken => Self::Bug("no free id was found"),
            InsertError::RequestReused => Self::RequestIdReused,
            InsertError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Denial::NotFound.into(),
            ChangeError::VersionMismatch => Self::StaleEtag,
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound => Self::AccountNotFound,
            AccountError::TooManyKeys => Self::TooManyKeys,
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        log(&error);
        let missed = if let ApiError::Missing { id } = &error { Some(Missed::one(id)) } else { None };
        let mut status = Status::from(public(error));
        if let Some(missed) = missed {
            status.set_source(Arc::new(missed));
        }
        status
    }
}

/// Causes go to the log, never to the client.
fn log(error: &ApiError) {
    match error {
        ApiError::Store(error) => store_failed(error),
        ApiError::Bug(what) => tracing::error!(what, "a call met a bug"),
        _ => {}
    }
}

/// Every failure is counted. While the store is away each call meets the same, so the log has it once a second.
fn store_failed(error: &StoreError) {
    static UNAVAILABLE: LogGate = LogGate::new();
    static INTERNAL: LogGate = LogGate::new();
    let (kind, cause) = match error {
        StoreError::Unavailable(cause) => ("unavailable", cause),
        StoreError::Indeterminate(cause) => ("indeterminate", cause),
        StoreError::Internal(cause) => ("internal", cause),
    };
    metrics::counter!("snippets_store_failures_total", "kind" => kind).increment(1);
    if let StoreError::Internal(_) = error {
        if let Some(held_back) = INTERNAL.pass() {
            tracing::error!(%cause, held_back, "the store failed");
        }
    } else if let Some(held_back) = UNAVAILABLE.pass() {
        tracing::warn!(%cause, held_back, "the store is unavailable");
    }
}

fn public(error: ApiError) -> Error {
    match error {
        ApiError::Invalid(violations) => Error::invalid_argument(
            violations.into_iter().map(|v| FieldViolation { field: v.field, description: v.description }),
        ),
        ApiError::BatchTooLarge { bytes_max } => Error::new(
            Code::OutOfRange,
            "BATCH_TOO_LARGE",
            format!(
                "the bodies have more than {bytes_max} bytes together; ask for fewer ids, or for the BASIC view"
            ),
        ),
        ApiError::Denied(Denial::NotFound) | ApiError::Missing { .. } => {
            Error::new(Code::NotFound, "SNIPPET_NOT_FOUND", "the snippet does not exist")
        }
        ApiError::Denied(Denial::PermissionDenied) => {
            Error::new(Code::PermissionDenied, "NOT_THE_OWNER", "the snippet belongs to somebody else")
        }
        ApiError::Denied(Denial::Unauthenticated) | ApiError::KeyNeeded => {
            Error::new(Code::Unauthenticated, "API_KEY_NEEDED", "this call needs an API key")
        }
        ApiError::AccountNotFound => {
            Error::new(Code::NotFound, "ACCOUNT_NOT_FOUND", "the account or key does not exist")
        }
        ApiError::TooManyKeys => Error::new(
            Code::FailedPrecondition,
            "TOO_MANY_API_KEYS",
            format!("the account has {API_KEYS_MAX} keys that are not revoked; revoke one first"),
        ),
        ApiError::KeyInvalid => {
            Error::new(Code::Unauthenticated, "API_KEY_INVALID", "the API key is unknown, revoked or expired")
        }
        ApiError::AdminsOnly => {
            Error::new(Code::PermissionDenied, "ADMINS_ONLY", "this call needs an admin's key")
        }
        ApiError::StaleEtag => {
            Error::new(Code::Aborted, "ETAG_STALE", "the snippet was edited since; read it again and retry")
        }
        ApiError::RequestIdReused => Error::new(
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
            "the request_id was used for another snippet within 24 hours; take a new one",
        ),
        ApiError::RateLimited { subject, denial } => Error::rate_limited(&quota(subject, denial)),
        // No time to come back is told: there is none.
        ApiError::NeverFits => Error::new(
            Code::OutOfRange,
            "LARGER_THAN_LIMIT",
            "the request is larger than the limits ever let pass at once; make it smaller",
        ),
        ApiError::Store(StoreError::Unavailable(_) | StoreError::Indeterminate(_)) => {
            Error::unavailable("STORE_UNAVAILABLE", "the store can't be reached; try again", RETRY_AFTER)
        }
        ApiError::Store(StoreError::Internal(_)) | ApiError::Bug(_) => {
            Error::new(Code::Internal, "INTERNAL", "internal error")
        }
    }
}

fn quota(subject: String, denial: RateLimitDenial) -> ExceededQuota {
    ExceededQuota {
        subject,
        rule: denial.rule,
        limit: denial.limit,
        remaining: denial.remaining,
        retry_after: denial.retry_after,
        reset_after: denial.reset_after,
    }
}
