//! What the fault tests share: a product that tells its story when a test fails, clients with a deadline, reads
//! whose views are tallied, outages, and [`conservation`], which lets many of them happen at random.
//!
//! The law that they test: every view that a client was answered is counted, once, whatever died meanwhile.

mod client;
pub mod conservation;
mod flood;
mod lanes;
mod outage;
mod readiness;
mod rig;
mod views;

pub use client::Client;
pub use flood::Flood;
pub use outage::{Faulty, Outage};
pub use readiness::{metric, until_degraded, until_ready};
pub use rig::Rig;
pub use views::{Counts, Views, sum};

use std::time::Duration;

/// Longest that a test waits for what has to happen; one that passes waits for nothing like it.
pub const PATIENCE: Duration = Duration::from_secs(60);
