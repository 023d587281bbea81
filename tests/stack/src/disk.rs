//! A small disk in memory, which can be filled up.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use tokio::task::spawn_blocking;

use crate::programs::{clean_command, run};

/// How much of the disk is filled at a time; the last time down to a byte.
const CHUNK_BYTES: usize = 1 << 20;

/// A tmpfs; unmounted when dropped. Only root can mount one.
#[derive(Debug)]
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts a disk of that size at a folder, owned by that user and group and closed to others.
    pub(crate) async fn mount(at: &Path, bytes: u64, (user, group): (u32, u32)) -> anyhow::Result<Self> {
        let options = format!("size={bytes},uid={user},gid={group},mode=0700");
        let mut command = clean_command("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at);
        run(command).await.context("cannot mount a disk")?;
        Ok(Self { at: at.to_owned() })
    }

    /// Leaves no byte on it.
    pub(crate) async fn fill(&self) -> anyhow::Result<()> {
        let ballast = self.ballast();
        spawn_blocking(move || write_all_that_fits(&ballast)).await?
    }

    /// Takes back what [`fill`](Self::fill) has put there.
    pub(crate) fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: at once gone from the folder, and in fact when its last file is closed.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn write_all_that_fits(path: &Path) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    let chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.write_all(&chunk) {
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            written => written?,
        }
    }
}
