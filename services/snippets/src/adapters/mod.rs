//! The ports, implemented on real stores and brokers. A cargo feature each.

#[cfg(feature = "amqp")]
pub mod amqp;
mod lifetime;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;

pub mod memory_cache;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod ratelimit;
#[cfg(feature = "redis")]
pub mod redis_cache;
#[cfg(feature = "sqlite")]
pub mod sqlite;
