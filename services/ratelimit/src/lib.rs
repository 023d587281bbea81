//! The rate limit service: exact limits for all replicas together, counted in Redis; or, as a library, in memory.
//!
//! A [`Limiter`] finds the rules for a request and has a [`stores::CounterStore`] charge their counters; [`grpc`] serves
//! it.

pub mod clock;
#[cfg(feature = "redis")]
pub mod config;
mod decisions;
mod denial_log;
pub mod denials;
pub mod grpc;
#[cfg(feature = "redis")]
pub mod inspect;
pub mod limiter;
pub mod reload;
pub mod rules;
pub mod startup;
pub mod stores;

pub use denial_log::DenialLog;
pub use limiter::{CheckError, Descriptor, Limiter, Mode, Outcome, RuleStatus};
