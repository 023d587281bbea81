//! Names that no other test, process or run uses.

use std::hash::{BuildHasher, Hasher, RandomState};

/// `prefix_` and 16 random hexadecimal digits: fit for a database, a virtual host, a key prefix or a queue.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{:016x}", random())
}

/// 64 random bits, from the standard library's hash seeds.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
