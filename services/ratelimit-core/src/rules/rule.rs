//! One limit, as it is in force.

use std::{fmt, sync::Arc};

use crate::algorithm::Algorithm;

/// One limit, as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names the limit within its domain, it alone: see [the names](super#names).
    pub name: Arc<str>,
    /// The name in the file, which `replaces` goes by. A `rate_limit` may share it with others.
    pub given_name: Option<Arc<str>>,
    /// What it allows.
    pub policy: Policy,
    /// It counts, and never denies.
    pub shadow: bool,
    /// It counts and never denies, as in shadow; Envoy is told of what it would have denied in the response's metadata.
    pub quota_mode: bool,
    /// What holds while its counter can't be reached.
    pub on_error: OnError,
    /// How much a replica takes at once to hand out by itself: at least 1, at most what the limit lets pass at once.
    pub lease: Option<u64>,
    /// The given names of the limits that don't count when this one matches the same request.
    pub replaces: Vec<Arc<str>>,
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

impl Rule {
    /// A limit that is in force, with what holds where the file says nothing else.
    pub fn new(name: impl Into<Arc<str>>, policy: Policy) -> Self {
        Self {
            name: name.into(),
            given_name: None,
            policy,
            shadow: false,
            quota_mode: false,
            on_error: OnError::default(),
            lease: None,
            replaces: Vec::new(),
        }
    }

    /// Whether it can deny a request, rather than only count.
    pub fn is_enforced(&self) -> bool {
        !self.shadow && !self.quota_mode
    }
}

impl Policy {
    /// What is counted, and how; `None` where nothing is.
    pub fn algorithm(&self) -> Option<&Algorithm> {
        match self {
            Self::Unlimited => None,
            Self::Limited(algorithm) => Some(algorithm),
        }
    }
}

/// For people, such as `token_bucket, 300 per 1m, burst 50`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Limited(algorithm) = self else { return f.write_str("unlimited") };
        write!(f, "{}, {}", algorithm.name(), algorithm.limit())?;
        let period = humantime::format_duration(algorithm.period().unwrap_or_default());
        match algorithm {
            Algorithm::TokenBucket(bucket) => write!(f, " per {period}, burst {}", bucket.burst()),
            Algorithm::Quota(quota) => write!(f, " per {}, {}", quota.period(), quota.time_zone_name()),
            Algorithm::Concurrency(_) => write!(f, " at a time, each for {period} at most"),
            _ => write!(f, " per {period}"),
        }
    }
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Local => "local",
        })
    }
}
