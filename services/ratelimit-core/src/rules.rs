//! The rules: YAML in the format of envoyproxy/ratelimit's descriptor trees, and a superset of it.
//!
//! ```yaml
//! domain: snippets
//! descriptors:
//!   - key: tier
//!     descriptors:
//!       - key: caller
//!         limits:
//!           - {name: writes, algorithm: token_bucket, limit: 300, period: 1m, burst: 50, on_error: local}
//!   - key: path
//!     value: /login
//!     rate_limit: {unit: minute, requests_per_unit: 10}
//! ```
//! What can't be honoured is refused by name, with file, line and column; nothing is ignored in silence.

mod document;
mod error;
mod limit;
mod load;
mod parse;
mod tree;

use std::sync::Arc;

pub use error::{RuleError, RuleErrors};
pub use load::{DOMAINS_MAX, RuleFile, RuleSet};
pub use parse::{DEPTH_MAX, FILE_BYTES_MAX, LIMITS_PER_NODE_MAX, NAME_BYTES_MAX, NODES_MAX};
pub use tree::Domain;

use crate::algorithm::Algorithm;

/// One limit, as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names the limit within its domain: as given, or after its place in the tree, such as `tier=premium/caller`.
    pub name: Arc<str>,
    /// What it allows.
    pub policy: Policy,
    /// It counts, and never denies.
    pub shadow: bool,
    /// What holds while its counter can't be reached.
    pub on_error: OnError,
}

/// What a rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Everything, and nothing is counted.
    Unlimited,
    /// What the algorithm lets through.
    Limited(Algorithm),
}

/// What holds for a rule while its counter can't be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The request passes.
    Allow,
    /// The request can't be answered.
    Deny,
    /// The same limit, counted by this process alone.
    #[default]
    Local,
}
