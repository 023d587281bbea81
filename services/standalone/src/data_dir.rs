//! The folder with all data, which is one process's alone.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// The name of the file that is locked. It stays there, and is empty.
const LOCK: &str = "lock";

/// `DATA_DIR`, which no other process uses for as long as this lives: each would cache what the other changes, and count views
/// and limits for itself.
pub(crate) struct DataDir {
    path: PathBuf,
    /// The system gives the lock back when the file is closed, also of a process that was killed.
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is missing, and locks it.
    ///
    /// # Errors
    /// When another process has it.
    pub(crate) fn open(path: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let lock =
            File::create(path.join(LOCK)).with_context(|| format!("cannot write to {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "DATA_DIR: {} is in use by another process; stop it, or take another folder",
                    path.display()
                )
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("DATA_DIR: cannot lock {}", path.display()))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
