//! What went wrong, as a gRPC status. Causes go to the log, never to the client.

use std::time::Duration;

use chassis::status::{Error, FieldViolation};
use tonic::{Code, Status};

use crate::limiter::CheckError;

/// When to ask again while the counters are away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<CheckError> for Error {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::CostAboveCapacity { descriptor_index, rule, cause } => {
                let field = format!("descriptors[{descriptor_index}].cost");
                Self::invalid_argument([FieldViolation {
                    field,
                    description: format!("{cause} (rule {rule:?})"),
                }])
            }
            CheckError::Unavailable(cause) => {
                tracing::debug!(error = %cause, "check could not be answered");
                Self::unavailable("COUNTERS_UNAVAILABLE", "the limit can't be checked now", RETRY_AFTER)
            }
        }
    }
}

/// UNIMPLEMENTED for an RPC whose time has not come.
pub(super) fn not_served_yet(method: &str) -> Status {
    Error::new(Code::Unimplemented, "METHOD_NOT_SUPPORTED", format!("{method} is not served yet")).into()
}
