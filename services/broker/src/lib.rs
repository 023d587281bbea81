//! The RabbitMQ topology of the view pipeline, and how a service stays connected to it.
//!
//! lapin's own recovery is left off: it gives up after some attempts and does not recover from errors of a
//! channel. A service instead opens a [`BrokerConnection`], declares the [`topology`], works until anything
//! fails, and lets a [`Supervisor`] pace the next attempt from nothing. Its [`Status`] says meanwhile why. Publish and consume on connections of
//! their own: while the broker blocks a publisher, lapin writes nothing on that connection, acks included.
//!
//! No business rule lives here.

mod connection;
mod error;
pub mod headers;
mod mismatch;
mod status;
mod supervisor;
pub mod topology;

pub use connection::{BrokerConnection, OPERATION_TIMEOUT, bounded};
pub use error::BrokerError;
pub use mismatch::{Difference, Mismatch};
pub use status::Status;
pub use supervisor::Supervisor;
