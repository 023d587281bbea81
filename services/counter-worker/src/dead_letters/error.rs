//! Why an action on dead letters did not do all that it was asked.

use std::io;

use broker::{BrokerError, topology::DEAD_QUEUE};
use chassis::config::ConfigError;

/// What could not be done. None of the texts holds credentials.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// The flags are not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The broker can't be reached, or does not let us in.
    #[error("no connection to the broker: {0}")]
    NotConnected(#[source] BrokerError),
    /// There is no queue of dead letters.
    #[error("there is no queue {DEAD_QUEUE} in this virtual host; services make it when they start")]
    NoQueue,
    /// The connection failed on the way, or the broker refused something.
    #[error(
        "the broker failed: {0}; what was not told as done is in the queue still, and the command may be repeated"
    )]
    Broker(#[from] BrokerError),
    /// Letters could not be put back into the queue.
    #[error(
        "the broker did not take the letters: {0}; they are dead letters still, and the command may be repeated"
    )]
    NotReplayed(#[source] BrokerError),
    /// Some of the ids name no letter.
    #[error("no dead letter is called {} (unless another command holds it now)", .0.join(" or "))]
    Unknown(Vec<String>),
    /// Some that were asked for by id were left where they are.
    #[error("malformed, and left where they are: {} (--malformed replays them, too)", .0.join(" and "))]
    Malformed(Vec<String>),
    /// Nobody reads what is printed.
    #[error("what was done can't be printed: {0}")]
    Output(#[from] io::Error),
}
