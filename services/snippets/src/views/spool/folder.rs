//! The files of a spool. Everything here blocks.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{Loaded, OpenSpoolError, Spooled, file, shown};
use crate::views::batches::Batch;

const LOCK: &str = "lock";
const BATCH: &str = "batch";
/// A file that is being written. One that is found was left by a crash, its batch was never said to be in the spool.
const UNFINISHED: &str = "tmp";
const CORRUPT: &str = "corrupt";

/// A locked folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    /// To be synced: a new name lasts from then on.
    handle: File,
    _lock: File,
}

impl Folder {
    /// Locks the folder, which is made if it is missing; removes what a crash has left unfinished, and finds the batches,
    /// oldest first.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<Spooled>), OpenSpoolError> {
        let io = |error| OpenSpoolError::Io(shown(dir), error);
        fs::create_dir_all(dir).map_err(io)?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenSpoolError::InUse(shown(dir)),
            TryLockError::Error(error) => io(error),
        })?;
        let handle = File::open(dir).map_err(io)?;
        let folder = Self { dir: dir.to_owned(), handle, _lock: lock };
        let found = folder.scan().map_err(io)?;
        Ok((folder, found))
    }

    fn scan(&self) -> io::Result<Vec<Spooled>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            let id = path.file_stem().and_then(OsStr::to_str).and_then(|stem| Uuid::try_parse(stem).ok());
            match (id, path.extension().and_then(OsStr::to_str)) {
                (Some(id), Some(BATCH)) => found.push(Spooled::new(id, entry.metadata()?.len())),
                (Some(_), Some(UNFINISHED)) => fs::remove_file(&path)?,
                _ => {}
            }
        }
        found.sort_unstable_by_key(|batch| batch.id);
        Ok(found)
    }

    /// Writes batches: all are there for good, or an error is returned.
    pub(super) fn write(&self, batches: &[Batch]) -> io::Result<()> {
        let written = batches.iter().try_for_each(|batch| self.write_one(batch));
        let written = written.and_then(|()| self.handle.sync_all());
        if written.is_err() {
            self.give_up(batches);
        }
        written
    }

    fn write_one(&self, batch: &Batch) -> io::Result<()> {
        let unfinished = self.path(batch.pending.id, UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(&file::encode(batch))?;
        file.sync_all()?;
        fs::rename(unfinished, self.path(batch.pending.id, BATCH))
    }

    /// What can't be removed of them now is removed once they are sent, or sent once more after a restart, to no effect.
    fn give_up(&self, batches: &[Batch]) {
        for batch in batches {
            for extension in [UNFINISHED, BATCH] {
                let _ = fs::remove_file(self.path(batch.pending.id, extension));
            }
        }
    }

    /// Reads a batch, and sets aside what is none.
    pub(super) fn read(&self, id: Uuid) -> Loaded {
        let bytes = match fs::read(self.path(id, BATCH)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Loaded::Missing,
            Err(error) => return Loaded::Failed(error),
        };
        match file::decode(id, &bytes) {
            Ok(batch) => Loaded::Batch(batch),
            Err(corrupt) => {
                // Where even that fails, the file is found again after a restart.
                let _ = fs::rename(self.path(id, BATCH), self.path(id, CORRUPT));
                Loaded::Corrupt(corrupt.to_string())
            }
        }
    }

    /// Removes a batch, also one that is gone already. A crash may bring it back, to be sent once more.
    pub(super) fn remove(&self, id: Uuid) -> io::Result<()> {
        match fs::remove_file(self.path(id, BATCH)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, id: Uuid, extension: &str) -> PathBuf {
        self.dir.join(format!("{id}.{extension}"))
    }
}
