//! However often a counter worker is killed, no view is lost and none is counted twice.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use faults::{Flood, PATIENCE, Rig, Views, metric};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use stack::{Backends, Proxy, Service, shared, until};
use tokio::time::sleep;

const APPLIED: &str = "counter_worker_batches_total{outcome=\"applied\"}";
const DUPLICATES: &str = "counter_worker_batches_total{outcome=\"duplicate\"}";
const SEED: u64 = 5;
const ROUNDS: usize = 2;
/// Reads during which the worker gathers more than one flush.
const READS: u64 = 1000;
/// How long statements or acknowledgements are held on their way, so that a kill finds batches that are delivered and
/// not committed, or committed and not acknowledged. Far longer than it takes to kill.
const HELD: Duration = Duration::from_secs(3);
/// A kill at any moment falls into any step of a flush.
const FLUSH: u64 = 250;

/// Two workers, the first of which is killed.
struct Scene {
    /// From the first worker to the database.
    database: Proxy,
    /// From the first worker to the broker.
    broker: Proxy,
    rig: Rig,
    views: Arc<Views>,
}

#[tokio::test]
async fn killed_workers_lose_nothing_and_count_nothing_twice() {
    let scene = Scene::start().await;
    let ids = scene.rig.snippets(20).await.unwrap();
    let readers = scene.rig.readers().unwrap();
    let flood = Flood::start(&scene.views, &readers, &ids, SEED);
    let mut rng = StdRng::seed_from_u64(SEED);

    println!("one of two workers is killed");
    scene.kill_the_first_again_and_again(&flood, &mut rng).await;
    println!("the only worker is killed");
    scene.second().kill();
    scene.kill_the_first_again_and_again(&flood, &mut rng).await;
    println!("no worker is left: the queue holds");
    scene.first().kill();
    flood.answered(READS).await.unwrap();
    let failed = flood.stop().await;
    assert!(failed.is_empty(), "{failed:?}");
    scene.first().restart().await.unwrap();
    scene.views.until_counted(&readers[0]).await.unwrap();
    scene.rig.assert_conserved(&scene.views).await.unwrap();
}

impl Scene {
    async fn start() -> Self {
        let backends = Backends::fresh(shared()).await;
        let (database, database_url) = Proxy::before_url(&backends.database_url).await.unwrap();
        let (broker, amqp_url) = Proxy::before_url(&backends.amqp_url).await.unwrap();
        let builder = Rig::builder(backends)
            .replicas(1)
            .env_of("counter-worker-1", "DATABASE_URL", database_url)
            .env_of("counter-worker-1", "AMQP_URL", amqp_url);
        let rig = Rig::start(builder).await.unwrap();
        Self { database, broker, rig, views: Arc::default() }
    }

    fn first(&self) -> &Service {
        &self.rig.product.counter_workers[0]
    }

    fn second(&self) -> &Service {
        &self.rig.product.counter_workers[1]
    }

    async fn kill_the_first_again_and_again(&self, flood: &Flood, rng: &mut StdRng) {
        for _ in 0..ROUNDS {
            self.kill_at_any_moment(rng).await;
            self.kill_before_it_commits(flood).await;
            self.kill_before_its_acks_arrive().await;
        }
    }

    async fn kill_at_any_moment(&self, rng: &mut StdRng) {
        self.first_applies_batches().await;
        sleep(Duration::from_millis(rng.random_range(0..FLUSH))).await;
        self.first().kill();
        self.first().restart().await.unwrap();
    }

    /// What was delivered and gathered meanwhile is in nobody's hands but the broker's.
    async fn kill_before_it_commits(&self, flood: &Flood) {
        self.database.delay(HELD);
        flood.answered(READS).await.unwrap();
        self.kill_first_and_what_it_sent(&self.database).await;
    }

    /// What was committed is delivered again for certain, to whichever worker, and is found out.
    async fn kill_before_its_acks_arrive(&self) {
        self.broker.delay(HELD);
        self.first_applies_batches().await;
        let known_to_second = self.duplicates_of_second().await;
        self.kill_first_and_what_it_sent(&self.broker).await;
        let found_out = async || {
            let of_first = metric(self.first(), DUPLICATES).await.unwrap();
            of_first + self.duplicates_of_second().await > known_to_second
        };
        until("batches come again", PATIENCE, found_out).await.unwrap();
    }

    async fn kill_first_and_what_it_sent(&self, way: &Proxy) {
        self.first().kill();
        way.cut().await;
        way.delay(Duration::ZERO);
        way.restore().await.unwrap();
        self.first().restart().await.unwrap();
    }

    async fn first_applies_batches(&self) {
        let before = metric(self.first(), APPLIED).await.unwrap();
        let applies = async || metric(self.first(), APPLIED).await.unwrap() > before;
        until("the worker applies batches", PATIENCE, applies).await.unwrap();
    }

    /// None, while it is dead: its metrics are those of a process.
    async fn duplicates_of_second(&self) -> u64 {
        match self.second().pid() {
            Some(_) => metric(self.second(), DUPLICATES).await.unwrap(),
            None => 0,
        }
    }
}
