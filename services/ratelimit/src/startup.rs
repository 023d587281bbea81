//! Puts the limiter together: for its own process, and for the embedded mode.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    Limiter,
    rules::{self, LoadError},
    stores::MemoryCounters,
};

#[cfg(feature = "redis")]
mod process;

#[cfg(feature = "redis")]
pub use process::run;

/// How long the answers to requests with an id are kept in the embedded mode.
const RECEIPTS_KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// A limiter that counts in this process, up to `counters_max` subjects; by the rules at that path, or those built in.
///
/// # Errors
/// When the rules can't be loaded.
pub fn embedded(rules: Option<&Path>, counters_max: usize) -> Result<Arc<Limiter>, LoadError> {
    let counters = Arc::new(MemoryCounters::new(counters_max));
    Ok(Arc::new(Limiter::new(rules::load(rules)?, counters, RECEIPTS_KEPT_FOR)))
}
