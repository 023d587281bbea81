//! Batches whose turn has come, wherever they waited.

use std::{io, sync::Arc};

use uuid::Uuid;

use super::{
    backlog::{Backlog, Waiting},
    batches::Batch,
    instruments,
    spool::{Loaded, Spool},
};

/// Reads what is on disk.
#[derive(Debug)]
pub(super) struct BatchReader {
    spool: Option<Arc<Spool>>,
    backlog: Arc<Backlog>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Batches, to be sent.
    pub(super) batches: Vec<Batch>,
    /// Why something could not be read now.
    pub(super) failed: Option<String>,
}

impl BatchReader {
    /// Reads from `spool`, if there is one.
    pub(super) fn new(spool: Option<Arc<Spool>>, backlog: Arc<Backlog>) -> Self {
        Self { spool, backlog }
    }

    /// Reads what waits. What is no batch, or is not there, is forgotten, so that it holds up nothing.
    pub(super) async fn read(&self, waiting: Vec<Waiting>) -> Read {
        let (mut read, mut ids) = (Read::default(), Vec::new());
        for waiting in waiting {
            match waiting {
                Waiting::Held(batch) => read.batches.push(batch),
                Waiting::Spooled(id) => ids.push(id),
            }
        }
        if let Some(spool) = self.spool.as_ref().filter(|_| !ids.is_empty()) {
            match spool.read(ids).await {
                Ok(loaded) => loaded.into_iter().for_each(|(id, loaded)| self.sort(&mut read, id, loaded)),
                Err(error) => read.failed = Some(error.to_string()),
            }
        }
        read
    }

    fn sort(&self, read: &mut Read, id: Uuid, loaded: Loaded) {
        match loaded {
            Loaded::Batch(batch) => read.batches.push(batch),
            Loaded::Missing => self.lost(id, "missing", &"the file is gone"),
            Loaded::Corrupt(why) => self.lost(id, "corrupt", &why),
            Loaded::Failed(error) => self.failed(read, id, &error),
        }
    }

    fn lost(&self, id: Uuid, reason: &'static str, why: &(impl std::fmt::Display + ?Sized)) {
        tracing::error!(batch_id = %id, error = %why, "a batch of views in the spool can't be sent");
        instruments::spool_file_lost(reason);
        self.backlog.forget(id);
    }

    fn failed(&self, read: &mut Read, id: Uuid, error: &io::Error) {
        read.failed = Some(error.to_string());
        self.backlog.postpone(id);
    }
}
