//! The queues and stores that there are, each behind a cargo feature.

#[cfg(feature = "amqp")]
pub mod amqp;
pub mod channel;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
