//! What went wrong, as a gRPC status. Causes go to the log, never to the client.

use std::time::Duration;

use chassis::status::{Error, FieldViolation};
use tonic::Code;

use crate::{limiter::CheckError, stores::StoreError};

/// When to ask again while the counters are away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<CheckError> for Error {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::CostAboveCapacity { descriptor_index, rule, cause } => {
                let field = format!("descriptors[{descriptor_index}].cost");
                let description = format!("{cause} (rule {rule:?})");
                Self::invalid_argument([FieldViolation { field, description }])
            }
            CheckError::OtherRequest => Self::new(
                Code::AlreadyExists,
                "REQUEST_ID_USED",
                "request_id: was used for another request; take a new one for each request",
            ),
            CheckError::Unavailable(cause) => unavailable(&cause),
        }
    }
}

/// UNAVAILABLE, as the counters are away.
pub(super) fn unavailable(cause: &StoreError) -> Error {
    tracing::debug!(error = %cause, "counters could not be asked");
    Error::unavailable("COUNTERS_UNAVAILABLE", "the limit can't be checked now", RETRY_AFTER)
}
