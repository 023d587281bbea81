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
//!
//! # Names
//!
//! Each rule has a name that is its own within the domain. It is the given one where no other rule has that; the entries of
//! `limits` must have it so. Where several `rate_limit`s share a name, as envoyproxy/ratelimit allows, each is called
//! `name@place`, and without a given name a rule is called after its place, such as `tier=premium/caller`; a second
//! one there `tier=premium/caller#2`.

mod descriptors;
mod document;
mod error;
mod explain;
mod limit;
mod load;
mod matching;
mod metric;
mod names;
mod parse;
mod rate_limit;
mod read;
mod replaced;
mod rule;
#[cfg(test)]
mod schema;
mod tree;
mod walk;
mod warnings;
mod yaml;

pub use descriptors::{DescriptorSyntax, Entries, parse_descriptors, write_descriptor};
pub use error::{MISTAKES_MAX, Place, RuleError, RuleErrors};
pub use explain::{Explained, ExplainedRule, Explanation};
pub use load::{DOMAINS_MAX, RuleFile, RuleSet};
pub use matching::{Domain, Match, Matched, Matches};
pub use parse::{DEPTH_MAX, FILE_BYTES_MAX, LIMITS_PER_NODE_MAX, NAME_BYTES_MAX, NODES_MAX, VALUE_BYTES_MAX};
pub use rule::{OnError, Policy, Rule};
