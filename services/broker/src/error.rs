//! What can go wrong between a service and the broker.

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
    /// The broker refused an operation, or the connection failed.
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
}
