//! Puts the worker together: for its own process, and for the embedded mode.

use std::sync::Arc;

use chassis::Background;

use crate::{
    Pruner, Retention, Settings, Status, Worker,
    ports::{BatchQueue, TotalsStore},
};

#[cfg(all(feature = "amqp", feature = "postgres"))]
mod process;

#[cfg(all(feature = "amqp", feature = "postgres"))]
pub use process::run;

/// Starts a worker that moves batches from `queue` into `store`, and the pruning of the latter.
pub fn start(
    store: Arc<dyn TotalsStore>,
    queue: impl BatchQueue,
    settings: Settings,
    retention: Retention,
    background: &mut Background,
) -> Status {
    let pruner = Pruner::new(store.clone(), retention);
    let worker = Worker::new(store, queue, settings);
    let status = worker.status();
    background.start("view batch pruner", |stop| pruner.run(stop));
    background.start("view batch worker", |stop| worker.run(stop));
    status
}

/// Starts a worker on the SQLite file `file`, which is created and migrated as needed, and returns the way to
/// send it batches. Whatever sends must be started after it, so that it is stopped before it.
///
/// # Errors
/// When the file can't be opened or migrated.
#[cfg(feature = "sqlite")]
pub async fn start_embedded(
    file: &std::path::Path,
    settings: Settings,
    background: &mut Background,
) -> Result<crate::adapters::channel::BatchSender, crate::ports::StoreError> {
    let store = crate::adapters::sqlite::SqliteTotals::open(file).await?;
    let (sender, queue) = crate::adapters::channel::channel(settings.flush_batches_max);
    start(Arc::new(store), queue, settings, Retention::default(), background);
    Ok(sender)
}
