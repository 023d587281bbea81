//! Who edits sees it at once, and everybody else within a second: with the cache there, while it is dead or hangs, and once
//! it is back.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use faults::{Client, Outage, Rig};
use rpc::snippets::v1::SnippetView;
use stack::{Backends, Proxy, Redis, RedisPolicy, shared};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// On each replica.
const READERS: usize = 8;
/// By a premium account, which may write five times a second.
const EDIT_INTERVAL: Duration = Duration::from_millis(250);
/// For each way to be away: a quarter with the cache, a quarter without it, and the rest with it again. `EDIT_SECONDS` is for
/// longer ones.
const SECONDS: u64 = 12;
/// How the cache is away. But for the first it comes back with the copies that it had, which only a race would show.
const AWAY: [Away; 4] =
    [Away::Itself(Outage::Killed), Away::Itself(Outage::Paused), Away::CutOff, Away::FallenSilent];
/// What an edit may take to be seen through another replica.
const ELSEWHERE: Duration = Duration::from_secs(1);

/// The number of each edit that was acknowledged, and when.
type Acknowledged = Arc<Mutex<Vec<(u64, Instant)>>>;

#[tokio::test]
async fn an_edit_is_seen_at_once_where_it_was_made_and_within_a_second_elsewhere() {
    let seconds = std::env::var("EDIT_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let redis = Redis::start(RedisPolicy::Cache).await.unwrap();
    let (way, cache_redis_url) = Proxy::before_url(redis.url()).await.unwrap();
    let backends = Backends { cache_redis_url, ..Backends::fresh(shared()).await };
    let rig = Rig::start(Rig::builder(backends).workers(1)).await.unwrap();
    let [here, elsewhere] = rig.readers().unwrap().try_into().unwrap();
    let owner = rig.owner(&here);
    let id = owner.create("0").await.unwrap().id;

    let (acknowledged, stop) = (Acknowledged::default(), CancellationToken::new());
    let mut readers = JoinSet::new();
    for (client, patience) in [(&here, Duration::ZERO), (&elsewhere, ELSEWHERE)] {
        for _ in 0..READERS {
            let (client, id) = (client.clone(), id.clone());
            readers.spawn(read(client, id, acknowledged.clone(), patience, stop.clone()));
        }
    }
    let edits = edit(&owner, &id, &acknowledged);
    let script = async {
        for away in AWAY {
            let quarter = Duration::from_secs(seconds) / 4;
            sleep(quarter).await;
            away.begin(&redis, &way).await;
            sleep(quarter).await;
            away.end(&redis, &way).await;
            sleep(2 * quarter).await;
        }
    };
    tokio::select! {
        () = script => {}
        () = edits => unreachable!("it goes on for ever"),
    }
    stop.cancel();
    let reads: usize = readers.join_all().await.into_iter().sum();
    let edits = acknowledged.lock().await.len();
    println!("{reads} reads of {edits} edits");
    assert!(edits > 10 && reads > 10 * edits, "{reads} reads of {edits} edits");
}

/// How the cache is away, for every replica.
#[derive(Debug, Clone, Copy)]
enum Away {
    Itself(Outage),
    /// Connections end, and none can be made.
    CutOff,
    /// Whatever is sent is lost, and connections stay open.
    FallenSilent,
}

impl Away {
    async fn begin(self, redis: &Redis, way: &Proxy) {
        println!("the cache is away: {self:?}");
        match self {
            Self::Itself(outage) => outage.begin(redis),
            Self::CutOff => way.cut().await,
            Self::FallenSilent => way.black_hole(),
        }
    }

    async fn end(self, redis: &Redis, way: &Proxy) {
        match self {
            Self::Itself(outage) => outage.end(redis).await.unwrap(),
            Self::CutOff | Self::FallenSilent => way.restore().await.unwrap(),
        }
    }
}

async fn edit(owner: &Client, id: &str, acknowledged: &Acknowledged) {
    for number in 1.. {
        owner.edit(id, &number.to_string()).await.unwrap();
        acknowledged.lock().await.push((number, Instant::now()));
        sleep(EDIT_INTERVAL).await;
    }
}

/// Reads until stopped, and demands what was acknowledged so long before each read began. Tells how often.
async fn read(
    client: Client,
    id: String,
    acknowledged: Acknowledged,
    patience: Duration,
    stop: CancellationToken,
) -> usize {
    let mut reads = 0;
    while !stop.is_cancelled() {
        let due = Instant::now().checked_sub(patience).unwrap();
        let known =
            acknowledged.lock().await.iter().rev().find(|(_, at)| *at <= due).map(|(number, _)| *number);
        let body = client.get(&id, SnippetView::Full).await.unwrap().body;
        assert!(
            body.parse::<u64>().unwrap() >= known.unwrap_or_default(),
            "{body} is shown, {known:?} is due"
        );
        reads += 1;
    }
    reads
}
