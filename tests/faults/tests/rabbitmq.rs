//! Without the broker reads are as before, and their views wait for it; what the broker has taken it keeps.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use faults::{Flood, PATIENCE, Rig, Views, metric, until_degraded, until_ready};
use rpc::snippets::v1::SnippetView;
use stack::{Backends, Proxy, RabbitMq, Service, shared, until};
use tokio::time::{Instant, sleep_until};

const CONFIRMED: &str = "snippets_view_batches_total{outcome=\"confirmed\"}";
const READS: u64 = 1000;
/// How long batches are on their way to the broker before that way is cut: several windows' worth of them.
const HELD: Duration = Duration::from_secs(3);
/// RabbitMQ keeps the name of a new queue in memory for 3 s, and a broker that is killed within them never finds that
/// queue's leader again.
const QUEUES_ARE_SAFE_AFTER: Duration = Duration::from_secs(4);

/// A product whose way to the broker can be cut.
struct Scene {
    rabbitmq: RabbitMq,
    way: Proxy,
    rig: Rig,
    ids: Vec<String>,
    views: Arc<Views>,
}

#[tokio::test]
async fn views_wait_for_the_broker_and_outlive_it() {
    let scene = Scene::start().await;
    let queues_are_safe_at = Instant::now() + QUEUES_ARE_SAFE_AFTER;
    scene.reads_go_on(1).await;
    sleep_until(queues_are_safe_at).await;
    scene.the_queue_survives_a_kill(2).await;
    scene.rig.assert_conserved(&scene.views).await.unwrap();
}

impl Scene {
    async fn start() -> Self {
        let rabbitmq = RabbitMq::start().await.unwrap();
        // A worker notices after two heartbeats without a sign that the broker is frozen; 10 s apart by default.
        let url = format!("{}?heartbeat=2", rabbitmq.url());
        let (way, amqp_url) = Proxy::before_url(&url).await.unwrap();
        let backends = Backends { amqp_url, ..Backends::fresh(shared()).await };
        let rig = Rig::start(Rig::builder(backends)).await.unwrap();
        let ids = rig.snippets(5).await.unwrap();
        Self { rabbitmq, way, rig, ids, views: Arc::default() }
    }

    /// The broker is there, the way to it is not. What was on its way is lost: batches, confirms, acknowledgements. Yet not
    /// one read fails or is slow, and every view is counted once the broker is back.
    async fn reads_go_on(&self, seed: u64) {
        println!("rabbitmq: cut off");
        let product = &self.rig.product;
        let flood = self.flood(seed).await;
        self.way.delay(HELD);
        flood.answered(READS).await.unwrap();
        self.way.cut().await;
        self.way.delay(Duration::ZERO);
        flood.answered(READS).await.unwrap();
        for service in product.snippets.iter().chain(&product.counter_workers) {
            until_degraded(service, "rabbitmq").await.unwrap();
        }
        self.reads_and_writes_work(&flood).await;
        self.way.restore().await.unwrap();
        self.everything_arrives(flood).await;
    }

    /// The broker dies while batches are in its queue, which nobody else has any more: they are persistent, in a quorum
    /// queue. No worker is there to take them out.
    async fn the_queue_survives_a_kill(&self, seed: u64) {
        println!("rabbitmq: killed with batches in its queue");
        let product = &self.rig.product;
        product.counter_workers.iter().for_each(Service::kill);
        let flood = self.flood(seed).await;
        for replica in &product.snippets {
            let before = metric(replica, CONFIRMED).await.unwrap();
            let sent = async || metric(replica, CONFIRMED).await.unwrap() >= before + 5;
            until("batches are in the queue", PATIENCE, sent).await.unwrap();
        }
        self.rabbitmq.kill();
        for replica in &product.snippets {
            until_degraded(replica, "rabbitmq").await.unwrap();
        }
        self.reads_and_writes_work(&flood).await;
        self.rabbitmq.restart().await.unwrap();
        for worker in &product.counter_workers {
            worker.restart().await.unwrap();
        }
        self.everything_arrives(flood).await;
    }

    async fn flood(&self, seed: u64) -> Flood {
        let flood = Flood::start(&self.views, &self.rig.readers().unwrap(), &self.ids, seed);
        flood.answered(READS).await.unwrap();
        flood
    }

    /// While nothing gets through: otherwise this would be a test of a broker that is there.
    async fn reads_and_writes_work(&self, flood: &Flood) {
        let counted = self.counted().await;
        flood.answered(READS).await.unwrap();
        for reader in self.rig.readers().unwrap() {
            let owner = self.rig.owner(&reader);
            let id = owner.create("before").await.unwrap().id;
            owner.edit(&id, "after").await.unwrap();
            assert_eq!(reader.get(&id, SnippetView::Full).await.unwrap().body, "after");
        }
        assert!(counted < self.views.total() - READS, "{counted} views got through");
    }

    async fn counted(&self) -> u64 {
        let reader = &self.rig.readers().unwrap()[0];
        let mut counted = 0;
        for id in &self.ids {
            counted += reader.look(id).await.unwrap().view_count;
        }
        counted
    }

    async fn everything_arrives(&self, flood: Flood) {
        flood.answered(READS).await.unwrap();
        let failed = flood.stop().await;
        assert!(failed.is_empty(), "{failed:?}");
        self.views.until_counted(&self.rig.readers().unwrap()[0]).await.unwrap();
        for service in self.rig.product.services() {
            until_ready(service).await.unwrap();
        }
    }
}
