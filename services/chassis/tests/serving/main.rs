//! A server as its clients see it.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may")]

mod abuse;
mod answers;
mod calls;
mod connections;
mod draining;
mod health;
mod http;
mod support;
