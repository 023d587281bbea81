//! Keeps the spool: batches are on disk before they are sent, and no longer than need be.

use std::{io, sync::Arc, time::Duration};

use tokio::time::sleep;
use uuid::Uuid;

use super::{
    backlog::{Backlog, DiskWork},
    instruments,
    spool::{Spool, SpoolError, Spooled},
};

/// Batches that are written or removed in one go.
const TOGETHER_MAX: usize = 16;
/// How long a disk that fails, or is full, is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Writes batches of the backlog to disk, and removes those that are safe.
#[derive(Debug)]
pub(super) struct SpoolKeeper {
    spool: Option<Arc<Spool>>,
    backlog: Arc<Backlog>,
    is_failing: bool,
}

impl SpoolKeeper {
    /// Keeps `spool`, if there is one.
    pub(super) fn new(spool: Option<Arc<Spool>>, backlog: Arc<Backlog>) -> Self {
        Self { spool, backlog, is_failing: false }
    }

    /// Works for ever. Cancelling it loses nothing: what was not noted is done again.
    pub(super) async fn run(&mut self) {
        let Some(spool) = self.spool.clone() else {
            return std::future::pending().await;
        };
        loop {
            let work = self.backlog.disk_work(TOGETHER_MAX).await;
            if let Err(error) = self.work(&spool, work).await {
                self.failed(&error).await;
            }
        }
    }

    async fn work(&mut self, spool: &Spool, work: DiskWork) -> Result<(), SpoolError> {
        match work {
            DiskWork::Remove(ids) => self.sort(spool.remove(ids).await?),
            DiskWork::Write(batches) if batches.is_empty() => return Err(SpoolError::Full),
            DiskWork::Write(batches) => {
                let files: Vec<_> = batches.iter().map(Spooled::of).collect();
                // Before it is tried: an attempt that is given up may still succeed.
                self.backlog.writing(&files);
                spool.write(batches).await?;
                self.backlog.written(&files);
                // Where a disk is full, only this shows that it has room again.
                self.works();
            }
        }
        Ok(())
    }

    /// What can't be removed is left for later, so that it holds up nothing.
    fn sort(&self, removed: Vec<(Uuid, io::Result<()>)>) {
        let mut stuck = Vec::new();
        for (id, removed) in removed {
            match removed {
                Ok(()) => self.backlog.removed(id),
                Err(error) => {
                    self.backlog.leave(id);
                    stuck.push((id, error));
                }
            }
        }
        // All of them mostly for the same reason.
        if let Some((id, error)) = stuck.first() {
            let files = stuck.len();
            tracing::error!(files, batch_id = %id, %error, "sent views can't be removed from the spool, and are left for later");
            instruments::spool_failed();
        }
    }

    fn works(&mut self) {
        if self.is_failing {
            tracing::info!("views are spooled again");
            self.is_failing = false;
            self.backlog.spooling(true);
        }
    }

    async fn failed(&mut self, error: &SpoolError) {
        instruments::spool_failed();
        if !self.is_failing {
            tracing::error!(%error, "views can't be spooled, and wait in memory");
            self.is_failing = true;
        }
        self.backlog.spooling(false);
        sleep(RETRY_INTERVAL).await;
    }
}
