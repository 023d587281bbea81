//! How often a snippet was viewed, at most seconds old, without asking the store for each read.

mod requests;
#[cfg(test)]
mod tests;

use crate::{
    domain::SnippetId,
    ports::{StoreError, ViewTotals},
};
use futures_util::future::join_all;
use moka::{policy::EvictionPolicy, sync::Cache};
use parking_lot::Mutex;
use requests::{Batch, Counts, Requests};
use std::{collections::HashMap, fmt, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// A count this young is as good as a new one.
const FRESH: Duration = Duration::from_millis(250);
/// A count this old is still returned, and refreshed behind the caller's back: a snippet that is read all the time
/// is never waited for, and one that is not shows what happened meanwhile.
const USABLE: Duration = Duration::from_secs(1);
/// A count this old is returned when the store does not answer soon. No count is ten seconds behind while the
/// store is there, although what it tells may be a second old.
const TOLERABLE: Duration = Duration::from_secs(8);
/// How long requests gather before they are refreshed together behind their callers' backs.
const REFRESH_INTERVAL: Duration = Duration::from_millis(250);
/// For callers for whom there is a tolerable count.
const BRIEF: Patience = Patience { one: Duration::from_millis(200), all: Duration::from_millis(200) };
/// For those for whom there is none: they stay in line while the store answers others. One that takes longer for a single
/// answer counts as away.
const LONG: Patience = Patience { one: Duration::from_millis(500), all: Duration::from_secs(3) };
/// How many counts are remembered: those of the snippets that were read last.
const COUNTS_MAX: u64 = 100_000;

/// The counts of the snippets that were read lately. [`run`](Self::run) has to be running.
pub struct ViewCounts {
    totals: Arc<dyn ViewTotals>,
    known: Cache<SnippetId, Known>,
    requests: Mutex<Requests>,
    urgent: Notify,
}

/// How long a caller waits at most.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For the answer that the store owes, whosever it is.
    one: Duration,
    /// For its own, beginning with those before it.
    all: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    views: u64,
    /// When the query that read it began.
    as_of: Instant,
}

impl ViewCounts {
    /// Counts as `totals` has them.
    pub fn new(totals: Arc<dyn ViewTotals>) -> Self {
        Self::remembering(COUNTS_MAX, totals)
    }

    fn remembering(counts_max: u64, totals: Arc<dyn ViewTotals>) -> Self {
        // By frequency, moka would refuse newcomers a place.
        let known = Cache::builder().max_capacity(counts_max).eviction_policy(EvictionPolicy::lru()).build();
        Self { totals, known, requests: Mutex::default(), urgent: Notify::new() }
    }

    /// The views of a snippet. Waits for the store where no young count is known, for 3 s at most. With the store away,
    /// which takes half a second to find out, it is the last known count or, of a snippet that was not read lately, 0.
    pub async fn get(&self, id: &SnippetId) -> u64 {
        let known = self.known.get(id);
        let age = known.map_or(Duration::MAX, |known| known.as_of.elapsed());
        if age <= USABLE {
            if age > FRESH {
                self.requests.lock().refresh(*id);
            }
            return known.map_or(0, |known| known.views);
        }
        let patience = if age > TOLERABLE { LONG } else { BRIEF };
        if let Some(views) = self.read_now(id, patience).await {
            return views;
        }
        if age > TOLERABLE {
            metrics::counter!("snippets_view_counts_outdated_total").increment(1);
        }
        self.known.get(id).or(known).map_or(0, |known| known.views)
    }

    /// The views of several snippets, each as [`get`](Self::get) has it.
    pub async fn get_many(&self, ids: impl IntoIterator<Item = SnippetId>) -> HashMap<SnippetId, u64> {
        // What is asked for at once is one query.
        join_all(ids.into_iter().map(async |id| (id, self.get(&id).await))).await.into_iter().collect()
    }

    /// Refreshes what is asked for, until stopped.
    pub async fn run(&self, stop: CancellationToken) {
        // To show as none before there is one.
        metrics::counter!("snippets_view_counts_outdated_total").increment(0);
        let mut ticks = interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let refreshing = async {
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = self.urgent.notified() => {}
                }
                self.refresh().await;
            }
        };
        stop.run_until_cancelled(refreshing).await;
        // Nobody would answer.
        self.requests.lock().give_up();
    }

    /// The count as the store has it now, if it says so in time.
    async fn read_now(&self, id: &SnippetId, patience: Patience) -> Option<u64> {
        let mut answer = self.requests.lock().wait_for(*id, patience.one)?;
        self.urgent.notify_one();
        tokio::select! {
            biased;
            answered = answer.wait_for(Option::is_some) => answered.ok()?.as_ref()?.get(id).copied(),
            () = self.lost(patience) => None,
        }
    }

    /// Returns when patience is lost.
    async fn lost(&self, patience: Patience) {
        let end = Instant::now() + patience.all;
        loop {
            let end = self.requests.lock().overdue_at(patience.one).min(end);
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Reads all that is asked for, unless the store fails: then it is tried again with the next tick.
    async fn refresh(&self) {
        loop {
            let Some(batch) = self.requests.lock().next() else { return };
            let as_of = Instant::now();
            match self.read(batch.ids()).await {
                Ok(totals) => {
                    self.requests.lock().answered();
                    let counts = self.learn(batch.ids(), &totals, as_of);
                    batch.answer(counts);
                }
                Err(error) => return self.failed(batch, &error),
            }
        }
    }

    /// Tries twice, as a single failure says little: a connection may have been cut.
    async fn read(&self, ids: &[SnippetId]) -> Result<HashMap<SnippetId, u64>, StoreError> {
        match self.totals.totals(ids).await {
            Err(StoreError::Unavailable(_) | StoreError::Indeterminate(_)) => self.totals.totals(ids).await,
            read => read,
        }
    }

    fn learn(&self, ids: &[SnippetId], totals: &HashMap<SnippetId, u64>, as_of: Instant) -> Counts {
        let learn = |id: &SnippetId| {
            // A replica of the database that lags must not turn a count back.
            let before = self.known.get(id).map_or(0, |known| known.views);
            let views = totals.get(id).copied().unwrap_or(0).max(before);
            self.known.insert(*id, Known { views, as_of });
            (*id, views)
        };
        ids.iter().map(learn).collect()
    }

    fn failed(&self, batch: Batch, error: &StoreError) {
        metrics::counter!("snippets_view_count_refresh_failures_total").increment(1);
        let news = self.requests.lock().failed(batch);
        if news {
            tracing::warn!(%error, "view counts can't be read, the last known ones serve");
        }
    }
}

impl fmt::Debug for ViewCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewCounts").field("known", &self.known.entry_count()).finish_non_exhaustive()
    }
}
