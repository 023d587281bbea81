//! What every server does the same way: start, wait for readiness, die, freeze, come back.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::process::Process;

const START_WITHIN: Duration = Duration::from_secs(90);
const PROBE_EVERY: Duration = Duration::from_millis(20);
const PROBE_WITHIN: Duration = Duration::from_secs(2);
const LOG_TAIL_LINES: usize = 40;

/// Tells whether the server answers.
pub(crate) type Probe = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Boxes an async function of nothing as a [`Probe`].
pub(crate) fn probe<F, Fut>(check: F) -> Probe
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = bool> + Send + 'static,
{
    Box::new(move || Box::pin(check()))
}

/// A server that can be killed, paused and restarted with the same command in the same folder.
pub(crate) struct Server {
    name: String,
    command: Mutex<Command>,
    probe: Probe,
    // Before the folder: fields are dropped in this order, and a live process would write into it.
    process: Mutex<Option<Process>>,
    dir: TempDir,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Server").field("name", &self.name).field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A temporary folder for one server; short, since Unix sockets in it have a length limit.
pub(crate) fn temp_dir(name: &str) -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("stack-{name}-"))
        .tempdir()
        .context("cannot create a temporary folder")
}

impl Server {
    /// Starts `command` with its output in a file of `dir` and waits until `probe` is satisfied.
    pub(crate) async fn start(
        name: impl Into<String>,
        dir: TempDir,
        mut command: Command,
        probe: Probe,
    ) -> anyhow::Result<Self> {
        let log = open_log(&log_path(dir.path()))?;
        command.stdout(log.try_clone()?).stderr(log).current_dir(dir.path());
        let server =
            Self { name: name.into(), command: Mutex::new(command), probe, process: Mutex::new(None), dir };
        server.restart().await?;
        Ok(server)
    }

    /// Kills the server if it runs, starts it again and waits until it answers.
    pub(crate) async fn restart(&self) -> anyhow::Result<()> {
        self.kill();
        let process = Process::spawn(&mut lock(&self.command), self.dir.path())
            .with_context(|| format!("cannot start {}", self.name))?;
        *lock(&self.process) = Some(process);
        self.wait_until_ready().await
    }

    /// SIGKILL to the process and all that it started; returns when they are gone.
    pub(crate) fn kill(&self) {
        drop(lock(&self.process).take());
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub(crate) fn pause(&self) {
        if let Some(process) = lock(&self.process).as_ref() {
            process.pause();
        }
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        if let Some(process) = lock(&self.process).as_ref() {
            process.resume();
        }
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        if let Some(process) = lock(&self.process).as_ref() {
            process.hang_up();
        }
    }

    /// SIGTERM; gives the exit status, and kills the process and fails if it is not gone in time.
    pub(crate) async fn terminate(&self, within: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + within;
        if let Some(process) = lock(&self.process).as_ref() {
            process.terminate();
        }
        loop {
            if let Some(status) = self.exit_status()? {
                self.kill();
                return Ok(status);
            }
            if Instant::now() >= deadline {
                self.kill();
                bail!("{} did not end {within:?} after SIGTERM; {}", self.name, self.log_tail());
            }
            sleep(PROBE_EVERY).await;
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The process id; None while it is killed.
    pub(crate) fn pid(&self) -> Option<u32> {
        lock(&self.process).as_ref().map(Process::id)
    }

    /// Whether the process has ended by itself; false while it is killed.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.exit_status(), Ok(Some(_)))
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Standard output and error of all its runs.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(log_path(self.dir.path())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        while !timeout(PROBE_WITHIN, (self.probe)()).await.unwrap_or(false) {
            if let Some(status) = self.exit_status()? {
                bail!("{} ended while starting ({status}); {}", self.name, self.log_tail());
            }
            if Instant::now() >= deadline {
                bail!("{} was not ready after {START_WITHIN:?}; {}", self.name, self.log_tail());
            }
            sleep(PROBE_EVERY).await;
        }
        Ok(())
    }

    fn exit_status(&self) -> anyhow::Result<Option<ExitStatus>> {
        let mut process = lock(&self.process);
        let process = process.as_mut().ok_or_else(|| anyhow!("{} is not running", self.name))?;
        Ok(process.try_wait()?)
    }

    /// The end of the log, with a word of introduction.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        format!("the end of its log:\n{}", tail.join("\n"))
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("log")
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    let open = OpenOptions::new().create(true).append(true).open(path);
    open.with_context(|| format!("cannot open {}", path.display()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
