//! Orders that wait for Redis, and leave together.
//!
//! While a batch is under way, what arrives meanwhile becomes the next one: the busier the service, the larger the batches
//! and the fewer the round trips. A single order never waits.

use std::sync::Arc;

use parking_lot::Mutex;
use thread_local::ThreadLocal;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::stores::{Answer, Order, StoreError, lease};

/// Most orders of a batch. Redis serves nobody else while it decides about one, which takes some microseconds each.
const BATCH_MAX: usize = 64;
/// Most charges of a batch that has more than one order: Lua takes no more than 8,000 values at once.
const CHARGES_MAX: usize = 2_000;

/// Most batches of a lane under way: with one, an order would wait for half a round trip on average.
const UNDER_WAY_MAX: usize = 2;

/// Decides about batches.
pub(super) trait Decide: Send + Sync + 'static {
    /// One answer for each order.
    fn decide(&self, orders: &[Arc<Order>]) -> impl Future<Output = Result<Vec<Answer>, StoreError>> + Send;
}

/// A lane for each server thread, so that no answer has to wake another thread.
pub(super) struct Lanes<D> {
    decide: Arc<D>,
    by_thread: ThreadLocal<Arc<Lane>>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Lane(Mutex<Line>);

#[derive(Default)]
struct Line {
    waiting: Vec<Waiting>,
    under_way: usize,
    /// A task has been started that has not taken its batch yet.
    starting: bool,
}

struct Waiting {
    order: Arc<Order>,
    answer: oneshot::Sender<Result<Answer, StoreError>>,
}

impl<D: Decide> Lanes<D> {
    pub fn new(decide: Arc<D>) -> Self {
        Self { decide, by_thread: ThreadLocal::new(), tasks: TaskTracker::new() }
    }

    /// Has an order decided. What is given up on meanwhile is decided all the same.
    pub async fn decide(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        let lane = self.by_thread.get_or_default();
        let (answer, answered) = oneshot::channel();
        if lane.join(Waiting { order: order.clone(), answer }) {
            self.tasks.spawn(lane.clone().drive(self.decide.clone()));
        }
        answered.await.unwrap_or(Err(StoreError::Malformed("no answer at all")))
    }
}

impl Lane {
    /// Whether the one who joined has to start a task that drives the lane.
    fn join(&self, waiting: Waiting) -> bool {
        let mut line = self.0.lock();
        line.waiting.push(waiting);
        let starts = !line.starting && line.under_way < UNDER_WAY_MAX;
        if starts {
            line.starting = true;
            line.under_way += 1;
        }
        starts
    }

    async fn drive(self: Arc<Self>, decide: Arc<impl Decide>) {
        while let Some(batch) = self.next_batch() {
            let orders: Vec<_> = batch.iter().map(|waiting| waiting.order.clone()).collect();
            match decide.decide(&orders).await {
                Ok(answers) => batch.into_iter().zip(answers).for_each(|(it, answer)| it.tell(Ok(answer))),
                Err(error) => self.fail(batch, &error),
            }
        }
    }

    /// Who waits behind a Redis that is away must not find that out one after the other.
    fn fail(&self, batch: Vec<Waiting>, error: &StoreError) {
        let behind = std::mem::take(&mut self.0.lock().waiting);
        batch.into_iter().chain(behind).for_each(|it| it.tell(Err(error.clone())));
    }

    fn next_batch(&self) -> Option<Vec<Waiting>> {
        let mut line = self.0.lock();
        line.starting = false;
        if line.waiting.is_empty() {
            line.under_way -= 1;
            return None;
        }
        let rest = batch_len(&line.waiting);
        let rest = line.waiting.split_off(rest);
        Some(std::mem::replace(&mut line.waiting, rest))
    }
}

/// How many of those who wait leave together: one at least.
fn batch_len(waiting: &[Waiting]) -> usize {
    let mut charges = 0;
    let fit = waiting.iter().take(BATCH_MAX).take_while(|it| {
        charges += it.order.charges.len();
        charges <= CHARGES_MAX
    });
    fit.count().max(1)
}

impl Waiting {
    fn tell(self, answer: Result<Answer, StoreError>) {
        // Whoever asked may be gone, and what was leased with it.
        if let Err(Ok(Answer::Decided(decided))) = self.answer.send(answer) {
            let tokens = decided.grants.iter().map(|(_, grant)| grant.tokens).sum();
            lease::waste_unseen(tokens);
        }
    }
}
