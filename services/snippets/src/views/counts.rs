//! How often a snippet was viewed, at most seconds old, without asking the store for each read.

use crate::{
    domain::SnippetId,
    ports::{StoreError, ViewTotals},
};
use moka::sync::Cache;
use parking_lot::Mutex;
use std::{collections::HashSet, fmt, mem, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// A count this young is as good as a new one.
const FRESH: Duration = Duration::from_millis(250);
/// A count this old is still returned, and refreshed behind the caller's back: a snippet that is read all the time
/// is never waited for, and one that is not shows what happened meanwhile.
const USABLE: Duration = Duration::from_secs(1);
/// How long requests gather before they are refreshed together behind their callers' backs.
const REFRESH_INTERVAL: Duration = Duration::from_millis(250);
/// How long a caller waits for a count that is older, or was never read.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// After a wait in vain or a refresh that failed, nobody waits for this long.
const NO_WAIT: Duration = Duration::from_secs(1);
/// How many counts one query reads.
const CHUNK: usize = 1_000;
/// How many counts are remembered, and how many may wait for a refresh.
const COUNTS_MAX: usize = 100_000;

/// The counts of the snippets that were read lately. [`run`](Self::run) has to be running.
pub struct ViewCounts {
    totals: Arc<dyn ViewTotals>,
    known: Cache<SnippetId, Known>,
    requests: Mutex<Requests>,
    urgent: Notify,
    rounds_done: watch::Sender<u64>,
    no_wait_until: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    views: u64,
    /// When the query that read it began.
    as_of: Instant,
}

/// What the next round of refreshes will read.
#[derive(Debug, Default)]
struct Requests {
    ids: HashSet<SnippetId>,
    rounds_begun: u64,
}

impl ViewCounts {
    /// Counts as `totals` has them.
    pub fn new(totals: Arc<dyn ViewTotals>) -> Self {
        Self {
            totals,
            known: Cache::new(COUNTS_MAX as u64),
            requests: Mutex::default(),
            urgent: Notify::new(),
            rounds_done: watch::Sender::new(0),
            no_wait_until: Mutex::new(None),
        }
    }

    /// The views of a snippet. Waits 200 ms at most, and seldom: with the store away it is the last known count,
    /// or 0.
    pub async fn get(&self, id: &SnippetId) -> u64 {
        let known = self.known.get(id);
        let age = known.map(|known| known.as_of.elapsed());
        if age.is_none_or(|age| age > FRESH) {
            let round = self.request(*id);
            if age.is_none_or(|age| age > USABLE) && self.may_wait() {
                self.wait_for(round).await;
                return self.known.get(id).map_or(0, |known| known.views);
            }
        }
        known.map_or(0, |known| known.views)
    }

    /// Refreshes what is asked for, until stopped.
    pub async fn run(&self, stop: CancellationToken) {
        let mut ticks = interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rounds = async {
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = self.urgent.notified() => {}
                }
                self.refresh().await;
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    /// Asks for a refresh and returns the number of the round that will bring it.
    fn request(&self, id: SnippetId) -> u64 {
        let mut requests = self.requests.lock();
        if requests.ids.len() < COUNTS_MAX {
            requests.ids.insert(id);
        }
        requests.rounds_begun + 1
    }

    async fn wait_for(&self, round: u64) {
        self.urgent.notify_one();
        let mut rounds_done = self.rounds_done.subscribe();
        let done = rounds_done.wait_for(|&done| done >= round);
        if timeout(WAIT_MAX, done).await.is_err() {
            self.stop_waiting();
        }
    }

    async fn refresh(&self) {
        let (round, ids) = self.begin_round();
        for chunk in ids.chunks(CHUNK) {
            if let Err(error) = self.read(chunk).await {
                tracing::debug!(%error, "view counts can't be read");
                metrics::counter!("snippets_view_count_refresh_failures_total").increment(1);
                self.stop_waiting();
                break;
            }
        }
        self.rounds_done.send_replace(round);
    }

    fn begin_round(&self) -> (u64, Vec<SnippetId>) {
        let mut requests = self.requests.lock();
        requests.rounds_begun += 1;
        (requests.rounds_begun, mem::take(&mut requests.ids).into_iter().collect())
    }

    async fn read(&self, ids: &[SnippetId]) -> Result<(), StoreError> {
        let as_of = Instant::now();
        let totals = self.totals.totals(ids).await?;
        for id in ids {
            // A replica of the database that lags must not turn a count back.
            let before = self.known.get(id).map_or(0, |known| known.views);
            let views = totals.get(id).copied().unwrap_or(0).max(before);
            self.known.insert(*id, Known { views, as_of });
        }
        Ok(())
    }

    fn may_wait(&self) -> bool {
        self.no_wait_until.lock().is_none_or(|until| Instant::now() >= until)
    }

    fn stop_waiting(&self) {
        *self.no_wait_until.lock() = Some(Instant::now() + NO_WAIT);
    }
}

impl fmt::Debug for ViewCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewCounts").field("known", &self.known.entry_count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use std::collections::HashMap;
    use tokio::{task::JoinSet, time::sleep};

    /// From one read to the next of a snippet that is read all the time.
    const PACE: Duration = Duration::from_millis(50);

    /// A store that can be changed, broken and hung, and notes what it is asked.
    #[derive(Default)]
    struct Totals {
        views: Mutex<HashMap<SnippetId, u64>>,
        queries: Mutex<Vec<usize>>,
        broken: Mutex<bool>,
        hanging: Mutex<bool>,
    }

    #[async_trait]
    impl ViewTotals for Totals {
        async fn totals(&self, ids: &[SnippetId]) -> Result<HashMap<SnippetId, u64>, StoreError> {
            self.queries.lock().push(ids.len());
            if *self.hanging.lock() {
                std::future::pending::<()>().await;
            }
            if *self.broken.lock() {
                return Err(StoreError::Unavailable("broken".into()));
            }
            Ok(self.views.lock().clone())
        }
    }

    async fn with_counts<F: Future<Output = ()>>(test: impl FnOnce(Arc<Totals>, Arc<ViewCounts>) -> F) {
        let totals = Arc::<Totals>::default();
        let counts = Arc::new(ViewCounts::new(totals.clone()));
        let stop = CancellationToken::new();
        let script = async {
            test(totals, counts.clone()).await;
            stop.cancel();
        };
        tokio::join!(counts.run(stop.clone()), script);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_read_waits_and_those_at_once_share_a_query() {
        with_counts(|totals, counts| async move {
            let ids: Vec<_> = (0..100).map(|_| SnippetId::generate()).collect();
            totals.views.lock().insert(ids[7], 7);
            let mut reads = JoinSet::new();
            for id in ids.clone() {
                let counts = counts.clone();
                reads.spawn(async move { (id, counts.get(&id).await) });
            }
            while let Some(read) = reads.join_next().await {
                let (id, views) = read.unwrap();
                assert_eq!(views, if id == ids[7] { 7 } else { 0 });
            }
            let queries = totals.queries.lock().clone();
            assert_eq!(queries.iter().sum::<usize>(), 100);
            assert!(queries.len() <= 3, "{queries:?}");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_is_read_all_the_time_is_at_most_half_a_second_behind() {
        with_counts(|totals, counts| async move {
            let id = SnippetId::generate();
            assert_eq!(counts.get(&id).await, 0);
            totals.views.lock().insert(id, 5);
            let began = Instant::now();
            while counts.get(&id).await == 0 {
                sleep(PACE).await;
            }
            assert!(began.elapsed() <= FRESH + REFRESH_INTERVAL + PACE, "{:?}", began.elapsed());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_was_not_read_for_long_is_read_again_before_it_is_returned() {
        with_counts(|totals, counts| async move {
            let id = SnippetId::generate();
            assert_eq!(counts.get(&id).await, 0);
            totals.views.lock().insert(id, 5);
            sleep(Duration::from_secs(9)).await;
            assert_eq!(counts.get(&id).await, 5);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn with_the_store_away_the_last_known_count_is_returned_without_waiting() {
        with_counts(|totals, counts| async move {
            let (known, unknown) = (SnippetId::generate(), SnippetId::generate());
            totals.views.lock().insert(known, 5);
            assert_eq!(counts.get(&known).await, 5);
            *totals.broken.lock() = true;
            sleep(Duration::from_secs(3600)).await;
            assert_eq!(counts.get(&known).await, 5);
            let began = Instant::now();
            assert_eq!(counts.get(&known).await, 5);
            assert_eq!(counts.get(&unknown).await, 0);
            assert_eq!(began.elapsed(), Duration::ZERO);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_costs_one_caller_a_fifth_of_a_second() {
        with_counts(|totals, counts| async move {
            *totals.hanging.lock() = true;
            let began = Instant::now();
            assert_eq!(counts.get(&SnippetId::generate()).await, 0);
            assert_eq!(began.elapsed(), WAIT_MAX);
            assert_eq!(counts.get(&SnippetId::generate()).await, 0);
            assert_eq!(began.elapsed(), WAIT_MAX);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_never_goes_back() {
        with_counts(|totals, counts| async move {
            let id = SnippetId::generate();
            totals.views.lock().insert(id, 5);
            assert_eq!(counts.get(&id).await, 5);
            totals.views.lock().insert(id, 4);
            sleep(Duration::from_secs(9)).await;
            assert_eq!(counts.get(&id).await, 5);
        })
        .await;
    }
}
