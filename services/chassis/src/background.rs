//! The work a service does beside answering calls; each task has an owner that stops and joins it.

use std::{any::Any, future::poll_fn, pin::Pin, task::Poll};

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Duration, Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Owns background tasks and stops them in the reverse of the order they were started, so that a task may rely on
/// those before it until its own end: a flusher on the publisher it flushes through.
#[derive(Debug, Default)]
pub struct Background {
    tasks: Vec<Task>,
}

/// A background task ended that nobody had told to.
#[derive(Debug, thiserror::Error)]
#[error("the background task {task:?} {end}")]
pub struct TaskDied {
    task: &'static str,
    end: String,
}

#[derive(Debug)]
struct Task {
    name: &'static str,
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

impl Background {
    /// Starts a task. It is handed a token that is cancelled when it should finish; to end before is to fail.
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

    /// Waits until a task dies: it panics, or ends without having been told to. For ever, if none does.
    pub async fn died(&mut self) -> TaskDied {
        let (index, end) = poll_fn(|cx| {
            let mut tasks = self.tasks.iter_mut().enumerate();
            let ended = tasks.find_map(|(index, task)| match Pin::new(&mut task.handle).poll(cx) {
                Poll::Ready(end) => Some((index, end)),
                Poll::Pending => None,
            });
            ended.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        // It can't be joined once more.
        let task = self.tasks.remove(index).name;
        TaskDied { task, end: end.map_or_else(panicked, |()| "ended by itself".to_owned()) }
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
        match timeout_at(deadline, &mut self.handle).await {
            Ok(Ok(())) => tracing::debug!(task = self.name, "background task finished"),
            Ok(Err(error)) => tracing::error!(task = self.name, %error, "background task died"),
            Err(_) => {
                tracing::warn!(task = self.name, "background task did not finish in time");
                self.handle.abort();
            }
        }
    }
}

fn panicked(error: JoinError) -> String {
    let panic = error.try_into_panic().ok();
    let message = panic.as_deref().and_then(panic_message);
    format!("panicked: {}", message.unwrap_or("not with a text"))
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> Option<&str> {
    let message = panic.downcast_ref::<&str>().copied();
    message.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
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

    #[tokio::test]
    async fn a_death_is_told_and_the_rest_stops_as_ever() {
        let mut background = Background::default();
        background.start("alive", |stop| async move { stop.cancelled().await });
        background.start("panics", |_| async { panic!("at {}", "once") });
        assert_eq!(background.died().await.to_string(), r#"the background task "panics" panicked: at once"#);
        background.start("ends", |_| async {});
        assert_eq!(background.died().await.to_string(), r#"the background task "ends" ended by itself"#);
        background.stop(Duration::from_secs(1)).await;
    }
}
