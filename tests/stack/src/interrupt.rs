//! SIGINT and SIGTERM.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// From its creation on, neither signal ends this process by itself.
pub(crate) struct Interrupt {
    int: Signal,
    term: Signal,
}

impl Interrupt {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    /// Waits for a signal; gives the exit code that shells use for it.
    pub(crate) async fn received(&mut self) -> ExitCode {
        tokio::select! {
            _ = self.int.recv() => ExitCode::from(130),
            _ = self.term.recv() => ExitCode::from(143),
        }
    }
}
