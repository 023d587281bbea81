//! The process around a service: its runtime, its signals, its exit status.

use std::{fmt::Display, process::ExitCode};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{App, Bound, ServeError, telemetry::Telemetry};

/// Runs a service's main future to its end. An error is printed and makes the exit status 1.
pub fn run_to_completion<E: Display>(main: impl Future<Output = Result<(), E>>) -> ExitCode {
    let result = tokio::runtime::Runtime::new().map(|runtime| runtime.block_on(main));
    let error = match result {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => format!("{error:#}"),
        Err(error) => format!("no runtime: {error}"),
    };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// Serves until SIGTERM or SIGINT, drains, and ends telemetry last.
///
/// # Errors
/// When the service could not start, or a listener died.
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
