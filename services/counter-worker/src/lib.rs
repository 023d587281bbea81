//! The counter worker: consumes view batches and adds them up, each exactly once.
//!
//! Batches come at least once; the worker commits a batch's id and its counts in one transaction and acknowledges
//! afterwards, so a repetition finds its id and adds nothing. Any number of workers may run side by side.
//!
//! `domain` knows what a batch is; [`ports`] says what the [`Worker`] needs; [`adapters`] provide it.

pub mod adapters;
mod committer;
#[cfg(all(feature = "amqp", feature = "postgres"))]
pub mod config;
#[cfg(all(feature = "amqp", feature = "postgres"))]
pub mod dead_letters;
pub mod domain;
mod flush;
mod instruments;
mod pipeline;
pub mod ports;
mod pruner;
pub mod startup;
mod worker;

pub use pruner::{Pruner, Retention};
pub use worker::{Settings, Status, Worker};
