use super::*;
use async_trait::async_trait;
use std::collections::HashMap;
use tokio::{task::JoinSet, time::sleep};

/// From one read to the next of a snippet that is read all the time.
const PACE: Duration = Duration::from_millis(50);
const HOUR: Duration = Duration::from_secs(3600);

/// A store that can be changed, broken and hung, and notes how much it is asked for.
#[derive(Default)]
struct Totals {
    views: Mutex<HashMap<SnippetId, u64>>,
    /// The views of all snippets that are not in there.
    of_others: Mutex<u64>,
    queries: Mutex<Vec<usize>>,
    takes: Mutex<Duration>,
    failures: Mutex<usize>,
    hanging: Mutex<bool>,
}

#[async_trait]
impl ViewTotals for Totals {
    async fn totals(&self, ids: &[SnippetId]) -> Result<HashMap<SnippetId, u64>, StoreError> {
        self.queries.lock().push(ids.len());
        let takes = *self.takes.lock();
        sleep(takes).await;
        while *self.hanging.lock() {
            sleep(Duration::from_millis(1)).await;
        }
        if *self.failures.lock() > 0 {
            *self.failures.lock() -= 1;
            return Err(StoreError::Unavailable("broken".into()));
        }
        let (views, of_others) = (self.views.lock(), *self.of_others.lock());
        Ok(ids.iter().map(|id| (*id, views.get(id).copied().unwrap_or(of_others))).collect())
    }
}

async fn with_counts<F: Future<Output = ()>>(test: impl FnOnce(Arc<Totals>, Arc<ViewCounts>) -> F) {
    remembering(COUNTS_MAX, test).await;
}

async fn remembering<F: Future<Output = ()>>(
    counts_max: u64,
    test: impl FnOnce(Arc<Totals>, Arc<ViewCounts>) -> F,
) {
    let totals = Arc::<Totals>::default();
    let counts = Arc::new(ViewCounts::remembering(counts_max, totals.clone()));
    let stop = CancellationToken::new();
    let script = async {
        test(totals, counts.clone()).await;
        stop.cancel();
    };
    tokio::join!(counts.run(stop.clone()), script);
}

fn fresh_ids(number: usize) -> Vec<SnippetId> {
    (0..number).map(|_| SnippetId::generate()).collect()
}

/// Reads all of these at once.
async fn get_all(counts: &Arc<ViewCounts>, ids: &[SnippetId]) -> HashMap<SnippetId, u64> {
    let mut reads = JoinSet::new();
    for id in ids.iter().copied() {
        let counts = counts.clone();
        reads.spawn(async move { (id, counts.get(&id).await) });
    }
    reads.join_all().await.into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_read_waits_and_those_at_once_share_a_query() {
    with_counts(|totals, counts| async move {
        let ids = fresh_ids(100);
        totals.views.lock().insert(ids[7], 7);
        for (id, views) in get_all(&counts, &ids).await {
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
        for (pause, views) in [(2, 5), (9, 6), (3600, 7)] {
            counts.get(&id).await;
            totals.views.lock().insert(id, views);
            sleep(Duration::from_secs(pause)).await;
            assert_eq!(counts.get(&id).await, views);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn with_the_store_away_the_last_known_count_is_returned_without_waiting() {
    with_counts(|totals, counts| async move {
        let (known, unknown) = (SnippetId::generate(), SnippetId::generate());
        totals.views.lock().insert(known, 5);
        assert_eq!(counts.get(&known).await, 5);
        *totals.failures.lock() = usize::MAX;
        sleep(HOUR).await;
        assert_eq!(counts.get(&known).await, 5);
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(counts.get(&known).await, 5);
            assert_eq!(counts.get(&unknown).await, 0);
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_first_count_after_an_outage_is_right_though_nobody_read_meanwhile() {
    with_counts(|totals, counts| async move {
        let id = SnippetId::generate();
        totals.views.lock().insert(id, 5);
        *totals.failures.lock() = usize::MAX;
        assert_eq!(counts.get(&id).await, 0);
        sleep(HOUR).await;
        *totals.failures.lock() = 0;
        sleep(HOUR).await;
        totals.views.lock().insert(id, 6);
        assert_eq!(counts.get(&id).await, 6);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_is_waited_for_rather_than_an_old_count_told() {
    with_counts(|totals, counts| async move {
        let id = SnippetId::generate();
        *totals.takes.lock() = Duration::from_millis(240);
        for views in [5, 6] {
            totals.views.lock().insert(id, views);
            assert_eq!(counts.get(&id).await, views);
            sleep(HOUR).await;
        }
        // Two of its answers, where the first is to what somebody else had asked.
        let other = SnippetId::generate();
        let (_, views) = tokio::join!(counts.get(&other), async {
            sleep(Duration::from_millis(100)).await;
            counts.get(&id).await
        });
        assert_eq!(views, 6);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_is_not_waited_for_long_where_the_count_is_tolerable() {
    with_counts(|totals, counts| async move {
        let id = SnippetId::generate();
        totals.views.lock().insert(id, 5);
        assert_eq!(counts.get(&id).await, 5);
        totals.views.lock().insert(id, 6);
        *totals.takes.lock() = Duration::from_millis(600);
        sleep(Duration::from_secs(3)).await;
        let began = Instant::now();
        assert_eq!(counts.get(&id).await, 5);
        assert_eq!(began.elapsed(), BRIEF.all);
        // It is read all the same.
        sleep(Duration::from_millis(600)).await;
        assert_eq!(counts.get(&id).await, 6);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_long_line_before_a_store_is_waited_for_while_it_answers() {
    with_counts(|totals, counts| async move {
        *totals.of_others.lock() = 7;
        *totals.takes.lock() = Duration::from_millis(100);
        let began = Instant::now();
        let read = get_all(&counts, &fresh_ids(20_000)).await;
        assert!(read.values().all(|&views| views == 7));
        assert!(began.elapsed() > LONG.one);
        // There is an end to it.
        *totals.takes.lock() = Duration::from_millis(400);
        let began = Instant::now();
        get_all(&counts, &fresh_ids(20_000)).await;
        assert_eq!(began.elapsed(), LONG.all);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_once() {
    with_counts(|totals, counts| async move {
        let known = SnippetId::generate();
        totals.views.lock().insert(known, 5);
        assert_eq!(counts.get(&known).await, 5);
        *totals.hanging.lock() = true;
        let mut waited = Duration::ZERO;
        for _ in 0..300 {
            sleep(PACE).await;
            let began = Instant::now();
            assert_eq!(counts.get(&known).await, 5);
            assert_eq!(counts.get(&SnippetId::generate()).await, 0);
            waited += began.elapsed();
        }
        assert!(waited <= BRIEF.all + LONG.one, "{waited:?}");
        // And noticed when it is back.
        totals.views.lock().insert(known, 6);
        *totals.hanging.lock() = false;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(counts.get(&known).await, 6);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_fails_once_is_not_noticed() {
    with_counts(|totals, counts| async move {
        let ids = fresh_ids(3_500);
        *totals.of_others.lock() = 7;
        *totals.failures.lock() = 1;
        let read = get_all(&counts, &ids).await;
        assert!(read.len() == ids.len() && read.values().all(|&views| views == 7));
        assert!(totals.queries.lock().iter().all(|&ids| ids <= 1_000), "{:?}", totals.queries.lock());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn more_snippets_than_are_remembered_all_have_their_counts() {
    const REMEMBERED: u64 = 1_000;
    remembering(REMEMBERED, |totals, counts| async move {
        *totals.of_others.lock() = 7;
        let ids = fresh_ids(20_000);
        for some in ids.chunks(100) {
            let read = get_all(&counts, some).await;
            assert!(read.values().all(|&views| views == 7), "{read:?}");
        }
        // With the store away those that were read last are known.
        *totals.failures.lock() = usize::MAX;
        sleep(Duration::from_secs(60)).await;
        let last = get_all(&counts, &ids[ids.len() - 500..]).await;
        assert_eq!(last.values().filter(|&&views| views == 7).count(), 500);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn among_a_million_others_a_hot_count_stays_fresh() {
    const READS_PER_PACE: usize = 250;
    with_counts(|totals, counts| async move {
        let hot = SnippetId::generate();
        *totals.of_others.lock() = 7;
        *totals.takes.lock() = Duration::from_millis(20);
        let ids = fresh_ids(50_000);
        let began = Instant::now();
        for some in ids.chunks(READS_PER_PACE) {
            let seconds = began.elapsed().as_secs();
            totals.views.lock().insert(hot, seconds + 1);
            let (read, views) = tokio::join!(get_all(&counts, some), counts.get(&hot));
            assert!(read.values().all(|&views| views == 7));
            assert!(views + 2 > seconds, "{views} after {seconds} s");
            sleep(PACE).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_a_store_that_hangs_is_bounded_and_answered_when_it_is_back() {
    with_counts(|totals, counts| async move {
        *totals.of_others.lock() = 7;
        *totals.hanging.lock() = true;
        assert_eq!(counts.get(&SnippetId::generate()).await, 0);
        let ids = fresh_ids(250_000);
        for id in &ids {
            assert_eq!(counts.get(id).await, 0);
        }
        *totals.hanging.lock() = false;
        sleep(Duration::from_secs(1)).await;
        assert!(totals.queries.lock().iter().sum::<usize>() <= 100_001);
        for some in [&ids[..500], &ids[ids.len() - 500..]] {
            let read = get_all(&counts, some).await;
            assert!(read.values().all(|&views| views == 7));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_one_that_has_stopped() {
    let counts = ViewCounts::new(Arc::<Totals>::default());
    let stop = CancellationToken::new();
    stop.cancel();
    counts.run(stop).await;
    let began = Instant::now();
    assert_eq!(counts.get(&SnippetId::generate()).await, 0);
    assert_eq!(began.elapsed(), Duration::ZERO);
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
