//! Who edits sees it at once, and everybody else within a second: with the cache there, while it is dead or hangs, and once
//! it is back.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use faults::{Client, Outage, PATIENCE, Rig};
use rpc::snippets::v1::SnippetView;
use stack::{Backends, Proxy, Redis, RedisPolicy, shared, until};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::Code;

/// On each replica.
const READERS: usize = 8;
/// By a premium account, which may write five times a second.
const EDIT_INTERVAL: Duration = Duration::from_millis(250);
/// For each way to be away: a quarter with the cache, a quarter without it, and the rest with it again. `EDIT_SECONDS` is for
/// longer ones.
const SECONDS: u64 = 8;
/// How the cache is away. But for the first it comes back with the copies that it had, which only a race would show, and with the
/// last two everybody else reads them all the time.
const AWAY: [Away; 6] = [
    Away::Itself(Outage::Killed),
    Away::Itself(Outage::Paused),
    Away::CutOff(For::Everybody),
    Away::FallenSilent(For::Everybody),
    Away::CutOff(For::WhoeverEdits),
    Away::FallenSilent(For::WhoeverEdits),
];
/// What an edit may take to be seen through another replica.
const ELSEWHERE: Duration = Duration::from_secs(1);

/// The number of each edit that was acknowledged, and when.
type Acknowledged = Arc<Mutex<Vec<(u64, Instant)>>>;

#[tokio::test]
async fn an_edit_is_seen_at_once_where_it_was_made_and_within_a_second_elsewhere() {
    let seconds = std::env::var("EDIT_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let redis = Redis::start(RedisPolicy::Cache).await.unwrap();
    let (rig, ways) = behind_proxies(&redis).await;
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
            away.begin(&redis, &ways).await;
            sleep(quarter).await;
            away.end(&redis, &ways).await;
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

#[tokio::test]
async fn an_edit_is_seen_although_its_replica_was_cut_off_from_the_cache_and_killed() {
    let redis = Redis::start(RedisPolicy::Cache).await.unwrap();
    let (rig, [way, _others]) = behind_proxies(&redis).await;
    let [here, elsewhere] = rig.readers().unwrap().try_into().unwrap();
    let owner = rig.owner(&here);
    let [edited, deleted] = [owner.create("old").await.unwrap().id, owner.create("old").await.unwrap().id];
    let body = async |id| elsewhere.get(id, SnippetView::Full).await.map(|snippet| snippet.body);
    for id in [&edited, &deleted] {
        assert_eq!(body(id).await.unwrap(), "old");
    }

    way.cut().await;
    owner.edit(&edited, "new").await.unwrap();
    owner.delete(&deleted).await.unwrap();
    rig.product.snippets[0].kill();
    until("the edit shows", PATIENCE, async || body(&edited).await.unwrap() == "new").await.unwrap();
    let gone = async || body(&deleted).await.is_err_and(|status| status.code() == Code::NotFound);
    until("what was deleted is gone", PATIENCE, gone).await.unwrap();
    let relayed = rig.product.snippets[1].metric("snippets_cache_invalidations_relayed_total").await.unwrap();
    assert!(relayed > 1.5, "{relayed}");
}

/// Two replicas, each with its own way to the cache.
async fn behind_proxies(redis: &Redis) -> (Rig, [Proxy; 2]) {
    let (first, first_url) = Proxy::before_url(redis.url()).await.unwrap();
    let (second, cache_redis_url) = Proxy::before_url(redis.url()).await.unwrap();
    let backends = Backends { cache_redis_url, ..Backends::fresh(shared()).await };
    let builder = Rig::builder(backends).workers(1).env_of("snippets-1", "CACHE_REDIS_URL", first_url);
    (Rig::start(builder).await.unwrap(), [first, second])
}

/// How the cache is away.
#[derive(Debug, Clone, Copy)]
enum Away {
    Itself(Outage),
    /// Connections end, and none can be made.
    CutOff(For),
    /// Whatever is sent is lost, and connections stay open.
    FallenSilent(For),
}

#[derive(Debug, Clone, Copy)]
enum For {
    WhoeverEdits,
    Everybody,
}

impl Away {
    async fn begin(self, redis: &Redis, ways: &[Proxy; 2]) {
        println!("the cache is away: {self:?}");
        match self {
            Self::Itself(outage) => outage.begin(redis),
            Self::CutOff(whom) => {
                for way in whom.ways(ways) {
                    way.cut().await;
                }
            }
            Self::FallenSilent(whom) => whom.ways(ways).iter().for_each(Proxy::black_hole),
        }
    }

    async fn end(self, redis: &Redis, ways: &[Proxy; 2]) {
        match self {
            Self::Itself(outage) => outage.end(redis).await.unwrap(),
            Self::CutOff(whom) | Self::FallenSilent(whom) => {
                for way in whom.ways(ways) {
                    way.restore().await.unwrap();
                }
            }
        }
    }
}

impl For {
    fn ways(self, ways: &[Proxy; 2]) -> &[Proxy] {
        match self {
            Self::WhoeverEdits => &ways[..1],
            Self::Everybody => ways,
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
