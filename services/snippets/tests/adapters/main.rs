//! The contract of each port, on every adapter of it; and what only one adapter can do.

#![allow(clippy::unwrap_used, reason = "what tests share is a test too")]

#[cfg(all(feature = "postgres", feature = "redis"))]
mod cached;
#[cfg(feature = "postgres")]
mod cached_accounts;
mod contract;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod sample;
#[cfg(feature = "sqlite")]
mod sqlite;
