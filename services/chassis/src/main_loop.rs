//! The process around a service: its runtime, its signals, its exit status.

use std::{error::Error, process::ExitCode, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{App, Bound, ServeError, telemetry::Telemetry};

/// Longest that a process waits, once all is done, for what blocks a thread and can't be cancelled.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// Runs a service's main future to its end. An error is printed, with each of its causes once, and makes the exit status 1.
pub fn run_to_completion<E>(main: impl Future<Output = Result<(), E>>) -> ExitCode
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let Err(error) = run(main) else { return ExitCode::SUCCESS };
    eprintln!("error: {}", with_causes(&*error));
    ExitCode::FAILURE
}

fn run<E>(main: impl Future<Output = Result<(), E>>) -> Result<(), Box<dyn Error + Send + Sync>>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(main);
    runtime.shutdown_timeout(BLOCKED_MAX);
    result.map_err(E::into)
}

/// The error and what caused it. Many an error says its cause itself; that is not repeated.
fn with_causes(error: &dyn Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        let told = cause.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        next = cause.source();
    }
    text
}

/// Serves until SIGTERM or SIGINT, drains, and ends telemetry last.
///
/// # Errors
/// When the service could not start, or a listener or a background task died.
pub async fn serve_until_signal(bound: Bound, app: App, telemetry: Telemetry) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    let served = tokio::try_join!(bound.run(app, stop.clone()), stop_on_signal(stop));
    telemetry.shutdown().await;
    served.map(drop)
}

async fn stop_on_signal(stop: CancellationToken) -> Result<(), ServeError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
    }
    stop.cancel();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io, sync::mpsc, thread};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("says it itself: {0}")]
        Repeating(#[source] io::Error),
        #[error("leaves it to the caller")]
        Silent(#[source] Box<Failure>),
    }

    #[test]
    fn each_cause_is_told_once() {
        let failure = Failure::Silent(Box::new(Failure::Repeating(io::Error::other("refused"))));
        assert_eq!(with_causes(&failure), "leaves it to the caller: says it itself: refused");
    }

    #[test]
    fn what_blocks_does_not_keep_the_process() {
        let (release, released) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        let main = async {
            drop(tokio::task::spawn_blocking(move || released.recv()));
            Ok::<(), io::Error>(())
        };
        let process = thread::spawn(move || ended.send(run_to_completion(main)));
        assert_eq!(end.recv_timeout(Duration::from_secs(30)), Ok(ExitCode::SUCCESS));
        drop(release);
        process.join().unwrap().unwrap();
    }
}
