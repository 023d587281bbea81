//! What can go wrong between a service and the broker.

use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPSoftError},
};

use crate::mismatch::{Difference, Mismatch};

/// A failure of the broker, of the connection to it, or of one operation. None of the texts holds credentials.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address does not parse. Its text is left out on purpose: it holds the password.
    #[error("the broker's address is not a valid amqp:// URL")]
    InvalidUrl,
    /// The broker did not answer in time.
    #[error("the broker did not answer {0} in time")]
    Timeout(&'static str),
    /// The connection or one of its channels ended without a reason.
    #[error("the connection to the broker has ended")]
    Ended,
    /// The broker did not take a message: no queue is bound for it, or none could store it.
    #[error("the broker did not take the message: {0}")]
    NotTaken(String),
    /// An exchange or queue is there already, and not as it must be.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The broker refused an operation, or the connection failed.
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
}

impl BrokerError {
    /// The same, told as a mismatch where that is why `what` of this name could not be declared.
    pub(crate) fn of_declaring(self, what: &'static str, name: &'static str) -> Self {
        let Self::Amqp(error) = &self else { return self };
        let ErrorKind::ProtocolError(refusal) = error.kind() else { return self };
        if *refusal.kind() != AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) {
            return self;
        }
        let difference = Difference::parse(refusal.get_message().as_str());
        Self::Mismatch(Mismatch { what, name, difference })
    }
}
