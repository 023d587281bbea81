//! Callers side by side, each at a bounded pace.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// One caller.
pub(crate) trait Lane: Send + 'static {
    /// Why a lane ended by itself.
    type End: Send + 'static;

    /// Makes the next call, and waits for its answer; `Some` is the end of the lane.
    fn step(&mut self) -> impl Future<Output = Option<Self::End>> + Send;
}

/// Lanes that go on until they are stopped.
#[derive(Debug)]
pub(crate) struct Lanes<E> {
    steps_max: usize,
    stop: CancellationToken,
    tasks: JoinSet<Option<E>>,
}

impl<E: Send + 'static> Lanes<E> {
    /// No lanes yet. Each will make `steps_max` steps at most.
    pub(crate) fn new(steps_max: usize) -> Self {
        Self { steps_max, stop: CancellationToken::new(), tasks: JoinSet::new() }
    }

    /// Starts one more, with `pace` from one step to the next unless that takes longer.
    pub(crate) fn add(&mut self, pace: Duration, mut lane: impl Lane<End = E>) {
        let (stop, steps_max) = (self.stop.clone(), self.steps_max);
        let mut pace = interval(pace);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.tasks.spawn(async move {
            for _ in 0..steps_max {
                stop.run_until_cancelled(pace.tick()).await?;
                let end = lane.step().await;
                if end.is_some() {
                    return end;
                }
            }
            None
        });
    }

    /// Lets each finish its call, and gives the ends of those that ended by themselves.
    pub(crate) async fn stop(self) -> Vec<E> {
        self.stop.cancel();
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}
