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
    /// Why the disk did not answer.
    pub(super) failed: Option<String>,
}

impl BatchReader {
    /// Reads from `spool`, if there is one.
    pub(super) fn new(spool: Option<Arc<Spool>>, backlog: Arc<Backlog>) -> Self {
        Self { spool, backlog }
    }

    /// Reads what waits. What is no batch, or is not there, is forgotten, and what can't be read is left for later, so that
    /// neither holds up anything.
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
            Loaded::Failed(error) => self.unreadable(id, &error),
        }
    }

    fn lost(&self, id: Uuid, reason: &'static str, why: &(impl std::fmt::Display + ?Sized)) {
        tracing::error!(batch_id = %id, error = %why, "a batch of views in the spool can't be sent");
        instruments::spool_file_lost(reason);
        self.backlog.forget(id);
    }

    fn unreadable(&self, id: Uuid, error: &io::Error) {
        tracing::error!(batch_id = %id, %error, "a batch of views in the spool can't be read, and is left for later");
        instruments::spool_failed();
        self.backlog.set_aside(id);
    }
}
