//! Batches on disk, until they are safe with the broker.

mod file;
mod folder;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use self::folder::Folder;
use super::batches::Batch;

/// A disk that takes longer is taken for one that fails.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
/// What a file takes on disk at least.
const BLOCK_BYTES: u64 = 4096;

/// Where batches wait on disk, and how much of it they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The folder; made if it is missing. No two processes may share one.
    pub dir: PathBuf,
    /// The most that its files take, in bytes, each rounded up to 4 KiB.
    pub bytes_max: u64,
}

/// Why a spool can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenSpoolError {
    /// Another process has it.
    #[error("the spool {0} is in use by another process: each needs a folder of its own")]
    InUse(PathBuf),
    /// The folder can't be made, read or written.
    #[error("the spool {0} can't be used: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Why an operation on the spool failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// It holds as much as it may.
    #[error("it holds as much as it may")]
    Full,
    /// The disk did not answer.
    #[error("the disk did not answer in time")]
    Timeout,
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What was found where a batch should be.
#[derive(Debug)]
pub(super) enum Loaded {
    /// The batch.
    Batch(Batch),
    /// Nothing, and there never will be.
    Missing,
    /// Something else, for that reason. It is set aside, for a person to look at.
    Corrupt(String),
    /// Unknown: the disk failed.
    Failed(io::Error),
}

/// A batch in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spooled {
    /// Its id, and the name of its file.
    pub(super) id: Uuid,
    /// What its file takes, in bytes.
    pub(super) bytes: u64,
}

/// A folder with a file for each batch. All work on it is done one after the other, by threads that may block.
#[derive(Debug)]
pub struct Spool {
    folder: Arc<Folder>,
    /// A disk that hangs holds one thread, not all that would like to know.
    turn: Arc<Semaphore>,
    bytes_max: u64,
    found: Vec<Spooled>,
}

impl Spool {
    /// Opens the folder, locks it until the process ends, and finds the batches of those before. Blocks.
    ///
    /// # Errors
    /// When another process has it, or it can't be made, read or written.
    pub fn open(options: &SpoolOptions) -> Result<Self, OpenSpoolError> {
        let (folder, found) = Folder::open(&options.dir)?;
        Ok(Self {
            folder: Arc::new(folder),
            turn: Arc::new(Semaphore::new(1)),
            bytes_max: options.bytes_max,
            found,
        })
    }

    /// The batches that were there when it was opened, oldest first. They are told once.
    pub(super) fn found(&mut self) -> Vec<Spooled> {
        std::mem::take(&mut self.found)
    }

    /// The most that its files may take, in bytes.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Writes batches so that they outlive a loss of power, all or none; after an error some may be there nevertheless, also
    /// later, but before the next work is begun.
    pub(super) async fn write(&self, batches: Vec<Batch>) -> Result<(), SpoolError> {
        self.do_blocking(move |folder| folder.write(&batches)).await?.map_err(SpoolError::from)
    }

    /// Reads batches. What is not one is set aside.
    pub(super) async fn read(&self, ids: Vec<Uuid>) -> Result<Vec<(Uuid, Loaded)>, SpoolError> {
        self.do_blocking(move |folder| ids.into_iter().map(|id| (id, folder.read(id))).collect()).await
    }

    /// Removes batches, or what is left of them; tells of each whether that could be done.
    pub(super) async fn remove(&self, ids: Vec<Uuid>) -> Result<Vec<(Uuid, io::Result<()>)>, SpoolError> {
        self.do_blocking(move |folder| ids.into_iter().map(|id| (id, folder.remove(id))).collect()).await
    }

    async fn do_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> T + Send + 'static,
    ) -> Result<T, SpoolError> {
        let deadline = Instant::now() + OPERATION_TIMEOUT;
        let turn = timeout_at(deadline, self.turn.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| SpoolError::Timeout)?.map_err(io::Error::other)?;
        let folder = self.folder.clone();
        let working = spawn_blocking(move || {
            let _turn = turn;
            work(&folder)
        });
        let done = timeout_at(deadline, working).await.map_err(|_| SpoolError::Timeout)?;
        Ok(done.map_err(io::Error::other)?)
    }
}

impl Spooled {
    /// A batch whose file is that long.
    pub(super) fn new(id: Uuid, length: u64) -> Self {
        Self { id, bytes: length.next_multiple_of(BLOCK_BYTES) }
    }

    /// A batch as it would be.
    pub(super) fn of(batch: &Batch) -> Self {
        Self::new(batch.pending.id, file::length(batch))
    }
}

/// For messages.
fn shown(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}
