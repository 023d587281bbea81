//! The work a service does beside answering calls; each task has an owner that stops and joins it.

use std::time::Duration;

use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Owns background tasks and stops them in the reverse of the order they were started, so that a task may rely on
/// those before it until its own end: a flusher on the publisher it flushes through.
#[derive(Debug, Default)]
pub struct Background {
    tasks: Vec<Task>,
}

#[derive(Debug)]
struct Task {
    name: &'static str,
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

impl Background {
    /// Starts a task. It is handed a token that is cancelled when it should finish.
    pub fn start<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let span = tracing::info_span!(parent: None, "background", task = name);
        #[expect(clippy::disallowed_methods, reason = "this is the owner that joins the task")]
        let handle = tokio::task::spawn(task(stop.clone()).instrument(span));
        self.tasks.push(Task { name, stop, handle });
    }

    /// Stops every task, last first, each before the next; what has not finished by then is aborted.
    pub async fn stop(mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while let Some(task) = self.tasks.pop() {
            task.stop(deadline).await;
        }
    }
}

impl Task {
    async fn stop(mut self, deadline: Instant) {
        self.stop.cancel();
        match tokio::time::timeout_at(deadline, &mut self.handle).await {
            Ok(Ok(())) => tracing::debug!(task = self.name, "background task finished"),
            Ok(Err(error)) => tracing::error!(task = self.name, %error, "background task died"),
            Err(_) => {
                tracing::warn!(task = self.name, "background task did not finish in time");
                self.handle.abort();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_stop_in_reverse_and_a_stuck_one_does_not_hold_the_rest() {
        let stopped = Arc::new(Mutex::new(Vec::new()));
        let mut background = Background::default();
        for name in ["publisher", "flusher"] {
            let stopped = stopped.clone();
            background.start(name, move |stop| async move {
                stop.cancelled().await;
                stopped.lock().push(name);
            });
        }
        background.stop(Duration::from_secs(1)).await;
        assert_eq!(*stopped.lock(), ["flusher", "publisher"]);

        let mut background = Background::default();
        background.start("stuck", |_| std::future::pending());
        background.stop(Duration::from_secs(1)).await;
    }
}
