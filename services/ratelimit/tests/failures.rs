//! What becomes of Checks while Redis is away, in each way that it can be, and afterwards.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use rpc::ratelimit::v1::{CheckRequest, CheckResponse, RefundRequest};
use stack::{Proxy, Redis, RedisPolicy, Service, ServiceBuilder};
use support::{
    PATIENCE,
    service::{Client, ask, builder, check, client, count, refused, rules_file},
};
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const RULES: &str = "
domain: shop
descriptors:
  - {key: open, limits: [{limit: 2, period: 1h, on_error: allow}]}
  - {key: local, limits: [{limit: 2, period: 1h, on_error: local}]}
  - {key: closed, limits: [{limit: 1000, period: 1h, on_error: deny}]}
  - {key: slots, limits: [{algorithm: concurrency, limit: 1, period: 1h, on_error: local}]}
";

/// Many times what a Check may take with the patience given to the service: it shows that nobody hangs.
const HANGS: Duration = Duration::from_secs(5);
/// Checks at once.
const WAVE: usize = 20;

/// The ways in which Redis can be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Dead,
    Hanging,
    /// Nobody listens, and open connections are closed.
    Cut,
    /// Nothing arrives, and no connection is closed.
    Vanished,
    Slow,
    /// Redis does in time what it is asked, and the answers are late.
    SlowAnswers,
}

impl Outage {
    const ALL: [Self; 6] =
        [Self::Dead, Self::Hanging, Self::Cut, Self::Vanished, Self::Slow, Self::SlowAnswers];

    async fn begin(self, rig: &Rig) {
        match self {
            Self::Dead => rig.redis.kill(),
            Self::Hanging => rig.redis.pause(),
            Self::Cut => rig.proxy.cut().await,
            Self::Vanished => rig.proxy.black_hole(),
            Self::Slow => rig.proxy.delay(LATE),
            Self::SlowAnswers => rig.proxy.delay_answers(LATE),
        }
    }

    async fn end(self, rig: &Rig) {
        match self {
            Self::Dead => rig.redis.restart().await.unwrap(),
            Self::Hanging => rig.redis.resume(),
            Self::Cut | Self::Vanished => rig.proxy.restore().await.unwrap(),
            Self::Slow => rig.proxy.delay(Duration::ZERO),
            Self::SlowAnswers => rig.proxy.delay_answers(Duration::ZERO),
        }
    }

    /// Whether Redis may have done what it was asked, though nobody heard of it.
    fn may_charge(self) -> bool {
        matches!(self, Self::Hanging | Self::Slow | Self::SlowAnswers)
    }
}

/// How much later than [`IN_TIME`].
const LATE: Duration = Duration::from_millis(500);
/// How long the service waits for Redis.
const IN_TIME: &str = "250ms";

/// A service, a Redis of its own, and the way there.
struct Rig {
    redis: Redis,
    proxy: Proxy,
    service: Service,
    client: Client,
    _rules: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Self {
        let redis = Redis::start(RedisPolicy::Counters).await.unwrap();
        let (proxy, url) = Proxy::before_url(redis.url()).await.unwrap();
        let (builder, rules) = with_rules(builder(&url, "rl"), RULES);
        let service = builder.env("REDIS_TIMEOUT", IN_TIME).start().await.unwrap();
        let client = client(&service).await;
        Self { redis, proxy, service, client, _rules: rules }
    }

    async fn metric(&self, selector: &str) -> u64 {
        count(&self.service, selector).await
    }

    async fn fallbacks(&self) -> u64 {
        self.metric("ratelimit_fallbacks_total").await
    }

    async fn wave(&self, request: &CheckRequest) -> Vec<Result<CheckResponse, Status>> {
        wave(&self.client, request).await
    }

    /// Redis decides again, and says so.
    async fn until_back(&self, request: &CheckRequest) -> CheckResponse {
        stack::eventually(PATIENCE, async || Ok(self.client.clone().check(request.clone()).await?))
            .await
            .unwrap()
            .into_inner()
    }
}

fn with_rules(builder: ServiceBuilder, rules: &str) -> (ServiceBuilder, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = rules_file(folder.path(), rules);
    (builder.env("RATELIMIT_RULES", path), folder)
}

/// The answers to many Checks at once; nobody hangs.
async fn wave(client: &Client, request: &CheckRequest) -> Vec<Result<CheckResponse, Status>> {
    let mut checks = JoinSet::new();
    for _ in 0..WAVE {
        let (mut client, request) = (client.clone(), request.clone());
        checks.spawn(async move { timeout(HANGS, client.check(request)).await.unwrap() });
    }
    let answers = checks.join_all().await;
    answers.into_iter().map(|answer| answer.map(tonic::Response::into_inner)).collect()
}

fn passed(answers: Vec<Result<CheckResponse, Status>>) -> usize {
    answers.into_iter().filter(|answer| answer.as_ref().unwrap().allowed).count()
}

fn by(key: &str) -> CheckRequest {
    check("shop", &[(key, "x")])
}

fn assert_unavailable(status: &Status) {
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the limit can't be checked now"));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    assert_eq!(status.get_details_error_info().unwrap().domain, "ratelimit");
}

#[tokio::test]
async fn each_rule_goes_by_its_on_error_and_redis_takes_over_again() {
    for outage in Outage::ALL {
        println!("{outage:?}");
        let rig = Rig::start().await;
        assert_eq!(rig.until_back(&by("closed")).await.statuses[0].remaining, 999);

        outage.begin(&rig).await;
        assert_eq!(passed(rig.wave(&by("open")).await), WAVE);
        assert_eq!(passed(rig.wave(&by("local")).await), 2);
        for answer in rig.wave(&by("closed")).await {
            assert_unavailable(&answer.unwrap_err());
        }
        assert_redis_is_spared(&rig).await;

        outage.end(&rig).await;
        let answer = rig.until_back(&by("closed")).await;
        let remaining = answer.statuses[0].remaining;
        assert!(remaining == 998 || outage.may_charge() && remaining < 998, "{answer:?}");
        assert_eq!(rig.metric("ratelimit_breaker_open").await, 0);
        assert_local_counts_are_left_behind(&rig, outage).await;
    }
}

/// Once it is known to be away, no Check goes there.
async fn assert_redis_is_spared(rig: &Rig) {
    assert_eq!(rig.metric("ratelimit_breaker_open").await, 1);
    let (asked, fallbacks) = (rig.metric("ratelimit_redis_seconds_count").await, rig.fallbacks().await);
    assert_eq!(passed(rig.wave(&by("open")).await), WAVE);
    assert_eq!(rig.metric("ratelimit_redis_seconds_count").await, asked);
    assert_eq!(rig.fallbacks().await, fallbacks + WAVE as u64);
}

/// The limit is whole again, but for what Redis charged and nobody heard of.
async fn assert_local_counts_are_left_behind(rig: &Rig, outage: Outage) {
    let before = rig.fallbacks().await;
    let now_passed = passed(rig.wave(&by("local")).await);
    if rig.fallbacks().await == before {
        assert!(now_passed == 2 || outage.may_charge() && now_passed < 2, "{now_passed}");
    }
}

#[tokio::test]
async fn a_request_with_an_id_whose_answer_was_late_is_charged_once() {
    let rig = Rig::start().await;
    let request = CheckRequest { request_id: "id".into(), ..by("closed") };
    rig.until_back(&by("closed")).await;
    rig.proxy.delay_answers(LATE);
    assert_unavailable(&refused(&mut rig.client.clone(), request.clone()).await);
    rig.proxy.delay_answers(Duration::ZERO);
    let answer = rig.until_back(&request).await;
    assert_eq!((answer.allowed, answer.statuses[0].remaining), (true, 998));
    assert_eq!(rig.until_back(&request).await, answer);
    assert_eq!(rig.until_back(&by("closed")).await.statuses[0].remaining, 997);
}

#[tokio::test]
async fn a_slot_that_was_taken_here_and_there_is_given_back_in_both_places() {
    let rig = Rig::start().await;
    rig.until_back(&by("closed")).await;
    let [first, second] = ["first", "second"].map(|id| CheckRequest { request_id: id.into(), ..by("slots") });
    rig.proxy.delay_answers(LATE);
    let taken = ask(&mut rig.client.clone(), &first).await;
    assert!(taken.allowed, "by the local limit; Redis has let it pass, too");
    rig.proxy.delay_answers(Duration::ZERO);
    rig.until_back(&by("closed")).await;
    assert_eq!(ask(&mut rig.client.clone(), &first).await, taken, "the same answer");
    assert!(!ask(&mut rig.client.clone(), &second).await.allowed, "Redis says so now");

    let refund = RefundRequest { domain: "shop".into(), request_id: "first".into() };
    let mut client = rig.client.clone();
    assert!(client.refund(refund.clone()).await.unwrap().into_inner().refunded);
    assert!(!client.refund(refund).await.unwrap().into_inner().refunded);
    assert!(ask(&mut client, &by("slots")).await.allowed, "the slot in Redis is free");
}

#[tokio::test]
async fn what_was_denied_locally_stays_denied_when_redis_is_back() {
    let rig = Rig::start().await;
    rig.until_back(&by("closed")).await;
    let late = CheckRequest { request_id: "late".into(), ..by("local") };
    rig.redis.kill();
    while ask(&mut rig.client.clone(), &by("local")).await.allowed {}
    let denied = ask(&mut rig.client.clone(), &late).await;
    assert!(!denied.allowed);
    rig.redis.restart().await.unwrap();
    rig.until_back(&by("closed")).await;
    assert_eq!(ask(&mut rig.client.clone(), &late).await, denied);
    assert!(ask(&mut rig.client.clone(), &by("local")).await.allowed, "by the limit in Redis");
}

#[tokio::test]
async fn callers_that_give_up_early_open_the_breaker_too() {
    let rig = Rig::start().await;
    rig.until_back(&by("closed")).await;
    rig.redis.pause();
    let impatient = async || {
        let mut request = tonic::Request::new(by("open"));
        request.set_timeout(Duration::from_millis(20));
        drop(rig.client.clone().check(request).await);
        rig.metric("ratelimit_breaker_open").await == 1
    };
    stack::until("the breaker is open", PATIENCE, impatient).await.unwrap();
    rig.redis.resume();
}

#[tokio::test]
async fn one_stall_is_no_outage() {
    let redis = Redis::start(RedisPolicy::Counters).await.unwrap();
    let (builder, _rules) = with_rules(builder(redis.url(), "rl"), RULES);
    let service = builder.env("REDIS_TIMEOUT", "1s").start().await.unwrap();
    let client = client(&service).await;
    let open = by("open");
    redis.pause();
    let stalled = async {
        // Longer than the service waits, and much shorter than it would take to fail three times.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        redis.resume();
    };
    let (answers, ()) = tokio::join!(wave(&client, &open), stalled);
    assert_eq!(passed(answers), WAVE);
    assert!(count(&service, "ratelimit_fallbacks_total").await >= WAVE as u64, "all met the stall");
    assert_eq!(count(&service, "ratelimit_breaker_open").await, 0);
}

#[tokio::test]
async fn a_redis_that_forgot_the_script_is_told_it_again() {
    let rig = Rig::start().await;
    let first = rig.until_back(&by("closed")).await.statuses[0].remaining;
    for flushed in 1..=5 {
        rig.redis.ask("SCRIPT FLUSH").await.unwrap();
        assert_eq!(passed(rig.wave(&by("closed")).await), WAVE);
        let left = ask(&mut rig.client.clone(), &CheckRequest { peek: true, ..by("closed") }).await;
        assert_eq!(left.statuses[0].remaining, first - flushed * WAVE as u64);
    }
    assert_eq!(rig.fallbacks().await, 0);
}

#[tokio::test]
async fn a_redis_that_forgot_everything_counts_from_the_beginning() {
    let rig = Rig::start().await;
    rig.until_back(&by("closed")).await;
    rig.redis.ask("FLUSHALL").await.unwrap();
    let answer = ask(&mut rig.client.clone(), &by("closed")).await;
    assert_eq!((answer.allowed, answer.statuses[0].remaining), (true, 999));
}

/// It answers pings, so that only its refusals tell.
async fn assert_goes_by_on_error(client: &Client) {
    assert_eq!(passed(wave(client, &by("open")).await), WAVE);
    assert_eq!(passed(wave(client, &by("local")).await), 2);
    assert_unavailable(&refused(&mut client.clone(), by("closed")).await);
}

#[tokio::test]
async fn a_replica_that_may_not_be_written_to_counts_as_away_until_it_is_promoted() {
    let master = Redis::start(RedisPolicy::Counters).await.unwrap();
    let replica = Redis::replica_of(&master).await.unwrap();
    let (builder, _rules) = with_rules(builder(replica.url(), "rl"), RULES);
    let service = builder.env("REDIS_TIMEOUT", "5s").start().await.unwrap();
    let mut client = client(&service).await;
    assert_goes_by_on_error(&client).await;
    replica.ask("REPLICAOF NO ONE").await.unwrap();
    assert_eq!(ask(&mut client, &by("closed")).await.statuses[0].remaining, 999);
}

#[tokio::test]
async fn a_redis_without_memory_left_counts_as_away_and_what_it_knows_is_kept() {
    let rig = Rig::start().await;
    rig.until_back(&by("closed")).await;
    rig.redis.ask("CONFIG SET maxmemory 1").await.unwrap();
    assert_goes_by_on_error(&rig.client).await;
    rig.redis.ask("CONFIG SET maxmemory 0").await.unwrap();
    assert_eq!(rig.until_back(&by("closed")).await.statuses[0].remaining, 998);
}

/// Of each algorithm one that lets 1,000 pass, of which nothing comes back during the test.
const FLOODED: &str = "
domain: flood
descriptors:
  - {key: fixed_window, limits: [{algorithm: fixed_window, limit: 1000, period: 1h, on_error: deny}]}
  - {key: sliding_window, limits: [{algorithm: sliding_window, limit: 1000, period: 1h, on_error: deny}]}
  - {key: token_bucket, limits: [{algorithm: token_bucket, limit: 1, period: 1h, burst: 1000, on_error: deny}]}
  - {key: quota, limits: [{algorithm: quota, limit: 1000, period: month, on_error: deny}]}
  - {key: concurrency, limits: [{algorithm: concurrency, limit: 1000, period: 1h, on_error: deny}]}
";

/// How often a request is repeated until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    /// With the same id, until it is answered.
    Repeated,
    GivenUp,
}

/// 3,000 Checks by 64 callers; how many passed.
async fn flood(clients: &[Client; 2], request: &CheckRequest, unanswered: Unanswered) -> usize {
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let (client, request) = (clients[caller % 2].clone(), request.clone());
        let name = request.descriptors[0].entries[0].key.clone();
        let calls = 3000 / 64 + usize::from(caller < 3000 % 64);
        callers.spawn(async move {
            let mut passed = 0;
            for call in 0..calls {
                let request_id = match unanswered {
                    Unanswered::Repeated => format!("{name}/{caller}/{call}"),
                    Unanswered::GivenUp => String::new(),
                };
                let request = CheckRequest { request_id, ..request.clone() };
                passed += usize::from(answered(&client, &request, unanswered).await);
            }
            passed
        });
    }
    callers.join_all().await.into_iter().sum()
}

async fn answered(client: &Client, request: &CheckRequest, unanswered: Unanswered) -> bool {
    loop {
        match client.clone().check(request.clone()).await {
            Ok(answer) => return answer.into_inner().allowed,
            Err(status) => assert_unavailable(&status),
        }
        if unanswered == Unanswered::GivenUp {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_restarts_under_a_flood_and_not_one_passes_too_much() {
    let redis = Redis::start(RedisPolicy::Counters).await.unwrap();
    let (builder_one, _rules) = with_rules(builder(redis.url(), "rl"), FLOODED);
    let (builder_two, _rules_too) = with_rules(builder(redis.url(), "rl"), FLOODED);
    let (one, two) = tokio::try_join!(builder_one.start(), builder_two.start()).unwrap();
    let clients = [client(&one).await, client(&two).await];
    for algorithm in ["fixed_window", "sliding_window", "token_bucket", "quota", "concurrency"] {
        for unanswered in [Unanswered::Repeated, Unanswered::GivenUp] {
            let request = check("flood", &[(algorithm, &format!("{unanswered:?}"))]);
            let restarts = async {
                for _ in 0..2 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    redis.kill();
                    redis.restart().await.unwrap();
                }
            };
            let (passed, ()) = tokio::join!(flood(&clients, &request, unanswered), restarts);
            println!("{algorithm} {unanswered:?}: {passed}");
            match unanswered {
                // Whatever was charged is known by its id, so that nothing is charged for nobody.
                Unanswered::Repeated => assert_eq!(passed, 1000, "{algorithm}"),
                Unanswered::GivenUp => assert!((1..=1000).contains(&passed), "{algorithm}: {passed}"),
            }
        }
    }
}
