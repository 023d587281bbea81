//! Ends what a client does not let end: a call whose answer is not taken in time is reset.
//!
//! An answer is sent as far as the client has room for it. Who gives none keeps the answer, and its call's place, for as long
//! as the connection lives; and as nobody asks the body for more meanwhile, only the task around it can tell that time is up.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::{
    task::futures::TaskLocalFuture,
    time::{Instant, Sleep, sleep_until},
};

tokio::task_local! {
    static DEADLINE: Cell<Option<Instant>>;
}

/// Lets the task that serves this call last until then at most.
pub(crate) fn ends_at(deadline: Instant) {
    // Outside of a task that is watched there is nobody to keep waiting.
    let _ = DEADLINE.try_with(|end| end.set(Some(deadline)));
}

/// The call is over; the task may go on to serve others.
pub(crate) fn in_time() {
    let _ = DEADLINE.try_with(|end| end.set(None));
}

/// Watches a task, and drops it when it is overdue; gives `None` then.
pub(crate) fn watch<T: Future>(task: T) -> TaskLocalFuture<Cell<Option<Instant>>, Watched<T>> {
    DEADLINE.scope(Cell::new(None), Watched { task, timer: None })
}

/// Runs the calls of an HTTP/2 connection, each watched. They end with their connection at the latest.
#[derive(Debug, Clone)]
pub(crate) struct Executor;

impl<T: Future<Output = ()> + Send + 'static> hyper::rt::Executor<T> for Executor {
    fn execute(&self, call: T) {
        #[expect(clippy::disallowed_methods, reason = "the connection, which is owned, ends its calls")]
        tokio::task::spawn(watch(call));
    }
}

pin_project! {
    /// A task that ends when it is overdue.
    pub(crate) struct Watched<T> {
        #[pin]
        task: T,
        // Most calls are done before anybody has to wait for them.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<T: Future> Future for Watched<T> {
    type Output = Option<T::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(done) = this.task.poll(cx) {
            return Poll::Ready(Some(done));
        }
        let Some(deadline) = DEADLINE.try_with(Cell::get).ok().flatten() else { return Poll::Pending };
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        metrics::counter!("grpc_answers_not_taken_total").increment(1);
        tracing::debug!("a client did not take its answer in time");
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_lasts_no_longer_than_its_call() {
        let second = Duration::from_secs(1);
        let late = async {
            ends_at(Instant::now() + second);
            std::future::pending::<()>().await;
        };
        assert_eq!(watch(late).await, None);
        let next_call = async {
            ends_at(Instant::now() + second);
            tokio::time::sleep(second / 2).await;
            ends_at(Instant::now() + second);
            tokio::time::sleep(second / 2).await;
            in_time();
            tokio::time::sleep(2 * second).await;
        };
        assert_eq!(watch(next_call).await, Some(()));
    }
}
