//! Requests over several nodes of a cluster that are cut short, repeated, or overtaken by others.

use std::{sync::Arc, time::Duration};

use ratelimit::stores::{Answer, CounterCharge, CounterStore, Order, Receipt, RedisCounters, StoreError};
use tokio::task::JoinSet;

use crate::{
    cases::{HOUR, once, peek, refund_of},
    distant_cluster::DistantCluster,
    support::{PATIENCE, decided, fixed_window, order},
};

/// How long what is sent to the second node is on its way: long enough for a test to do something meanwhile.
const WAY: Duration = Duration::from_millis(500);

/// Longer than it takes to connect over such a way, and to ask something.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A store, and a subject of its own on each node: 5 may pass on the first and the third, 1 on the second, which is far away.
struct Scene<'a> {
    cluster: &'a DistantCluster,
    prefix: String,
    store: Arc<RedisCounters>,
    charges: Vec<CounterCharge>,
}

impl<'a> Scene<'a> {
    async fn new(cluster: &'a DistantCluster) -> Self {
        let prefix = stack::unique("parts");
        let store = cluster.counters(&prefix, TIMEOUT);
        let mut charges = Vec::new();
        for (node, limit) in [5, 1, 5].into_iter().enumerate() {
            charges.push(cluster.charge_on(node, &prefix, fixed_window(limit, HOUR)).await);
        }
        // Connects and loads the script everywhere, so that later each command takes one way.
        for charge in &charges {
            peek(&*store, charge).await;
        }
        cluster.way_to(1).delay(WAY);
        Self { cluster, prefix, store, charges }
    }

    fn order(&self) -> Arc<Order> {
        Arc::new(order(&self.charges))
    }

    /// All charges, under a request's name.
    async fn request(&self) -> Arc<Order> {
        let name = self.cluster.request_on(2).await;
        Arc::new(Order { charges: self.charges.clone(), ..(*once(&self.charges[0], &name)).clone() })
    }

    /// Waits until the first subject is charged: then the second one's charge is on its way, or about to be.
    async fn until_half_charged(&self) {
        self.until_charged(true).await;
    }

    /// Waits until the first subject is charged, or is no more.
    async fn until_charged(&self, wanted: bool) {
        let (key, exists) = (self.key(0), u8::from(wanted).to_string());
        let charged =
            async || self.cluster.node(0).ask(&format!("EXISTS {key}")).await.unwrap() == [&*exists];
        stack::until("the first subject is charged or not", PATIENCE, charged).await.unwrap();
    }

    /// A call that can be cut short.
    fn attempt(&self, order: &Arc<Order>) -> JoinSet<Result<Answer, StoreError>> {
        let (store, order) = (self.store.clone(), order.clone());
        let mut call = JoinSet::new();
        call.spawn(async move { store.charge(&order).await });
        call
    }

    fn key(&self, place: usize) -> String {
        format!("{}:{}", self.prefix, self.charges[place].key.as_ref())
    }

    /// Waits until so many may pass of the three subjects.
    async fn until_counters_have(&self, left: [u64; 3]) {
        self.cluster.way_to(1).delay(Duration::ZERO);
        let mut remaining = [0; 3];
        let as_wanted = async || {
            for (place, charge) in self.charges.iter().enumerate() {
                remaining[place] = peek(&*self.store, charge).await.remaining;
            }
            remaining == left
        };
        let waited = stack::until("the counters are as wanted", Duration::from_secs(10), as_wanted).await;
        assert!(waited.is_ok(), "{remaining:?} remain and not {left:?}");
    }

    /// Somebody else takes the second subject's last token, and is there before whoever is on the way.
    async fn take_the_last_of_the_second(&self) {
        let value: Vec<u8> = [1.0_f64, 9e15].iter().flat_map(|number| number.to_le_bytes()).collect();
        let client = redis::Client::open(self.cluster.node(1).url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("SET").arg(self.key(1)).arg(value).exec_async(&mut connection).await.unwrap();
    }

    async fn reset_the_second(&self) {
        self.cluster.node(1).ask(&format!("DEL {}", self.key(1))).await.unwrap();
    }
}

async fn answer(mut call: JoinSet<Result<Answer, StoreError>>) -> Result<Answer, StoreError> {
    call.join_next().await.unwrap().unwrap()
}

// All on one cluster, since a Redis that begins a cluster takes no commands for two seconds. One thread has one connection, which
// is there when a scene begins.
#[tokio::test]
async fn a_request_over_nodes_is_charged_whole_or_not_at_all() {
    let cluster = DistantCluster::start(3).await;
    what_a_crash_has_begun_is_finished_by_the_next_attempt(&Scene::new(&cluster).await).await;
    attempts_at_once_share_the_last_token(&Scene::new(&cluster).await).await;
    what_was_given_back_is_charged_anew(&Scene::new(&cluster).await).await;
    who_gives_up_leaves_nothing_half_charged(&Scene::new(&cluster).await).await;
    a_part_that_fails_gives_the_others_back(&Scene::new(&cluster).await).await;
    a_request_whose_part_failed_may_be_repeated(&Scene::new(&cluster).await).await;
}

async fn what_a_crash_has_begun_is_finished_by_the_next_attempt(scene: &Scene<'_>) {
    let request = scene.request().await;
    let crashing =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, repeated) = (scene.cluster.counters(&scene.prefix, TIMEOUT), request.clone());
    crashing.spawn(async move { first.charge(&repeated).await });
    scene.until_half_charged().await;
    crashing.shutdown_background();

    let (Answer::Decided(told) | Answer::Known(Receipt { decided: told, .. })) =
        scene.store.charge(&request).await.unwrap();
    assert!(told.decisions.iter().all(|decision| decision.allowed), "{told:?}");
    let Answer::Known(known) = scene.store.charge(&request).await.unwrap() else {
        panic!("it was forgotten")
    };
    assert_eq!(known.decided, told);
    scene.until_counters_have([4, 0, 4]).await;
    assert!(scene.store.give_back(&refund_of(&request, &told)).await.unwrap());
    scene.until_counters_have([5, 1, 5]).await;
}

async fn attempts_at_once_share_the_last_token(scene: &Scene<'_>) {
    let request = scene.request().await;
    let mut attempts = JoinSet::new();
    attempts.spawn(answer(scene.attempt(&request)));
    scene.until_half_charged().await;
    for _ in 0..8 {
        attempts.spawn(answer(scene.attempt(&request)));
    }
    for answer in attempts.join_all().await {
        let (Answer::Decided(told) | Answer::Known(Receipt { decided: told, .. })) = answer.unwrap();
        assert!(told.decisions.iter().all(|decision| decision.allowed), "{told:?}");
    }
    scene.until_counters_have([4, 0, 4]).await;
}

/// A request that was denied after all may come again once its denial is forgotten: then nothing is left of the first time.
async fn what_was_given_back_is_charged_anew(scene: &Scene<'_>) {
    let mut request = (*scene.request().await).clone();
    let receipt = request.receipt.as_mut().unwrap();
    receipt.kept_if_denied = Duration::from_millis(100);
    let (key, request) = (receipt.key.clone(), Arc::new(request));
    let attempt = scene.attempt(&request);
    scene.until_half_charged().await;
    scene.take_the_last_of_the_second().await;
    let told = decided(answer(attempt).await.unwrap());
    assert!(told.decisions[0].allowed && !told.decisions[1].allowed, "{told:?}");
    scene.until_counters_have([5, 0, 5]).await;

    scene.reset_the_second().await;
    let forgotten = async || scene.store.receipts(&key).await.unwrap().is_empty();
    stack::until("the denial is forgotten", PATIENCE, forgotten).await.unwrap();
    let told = decided(scene.store.charge(&request).await.unwrap());
    assert!(told.decisions.iter().all(|decision| decision.allowed), "{told:?}");
    scene.until_counters_have([4, 0, 4]).await;
}

async fn who_gives_up_leaves_nothing_half_charged(scene: &Scene<'_>) {
    let mut caller = scene.attempt(&scene.order());
    scene.until_half_charged().await;
    caller.shutdown().await;
    scene.until_counters_have([4, 0, 4]).await;
}

async fn a_part_that_fails_gives_the_others_back(scene: &Scene<'_>) {
    let caller = scene.attempt(&scene.order());
    scene.until_half_charged().await;
    scene.cluster.way_to(1).black_hole();
    answer(caller).await.unwrap_err();
    scene.until_charged(false).await;
    assert_eq!(peek(&*scene.store, &scene.charges[2]).await.remaining, 5);
    scene.cluster.reopen(1).await;
}

async fn a_request_whose_part_failed_may_be_repeated(scene: &Scene<'_>) {
    let request = scene.request().await;
    let attempt = scene.attempt(&request);
    scene.until_half_charged().await;
    scene.cluster.way_to(1).black_hole();
    answer(attempt).await.unwrap_err();
    scene.until_charged(false).await;
    scene.cluster.reopen(1).await;

    let store = scene.cluster.counters(&scene.prefix, TIMEOUT);
    let told = decided(store.charge(&request).await.unwrap());
    assert!(told.decisions.iter().all(|decision| decision.allowed), "{told:?}");
    assert_eq!(peek(&*store, &scene.charges[0]).await.remaining, 4);
    assert!(store.give_back(&refund_of(&request, &told)).await.unwrap());
    for (charge, limit) in scene.charges.iter().zip([5, 1, 5]) {
        assert_eq!(peek(&*store, charge).await.remaining, limit);
    }
}
