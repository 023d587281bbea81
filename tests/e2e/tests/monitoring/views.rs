//! A replica of snippets and a counter worker to which all has happened that they have metrics for, while Prometheus looked
//! on.

use std::time::SystemTime;

use e2e::{Client, PATIENCE};
use prost::Message as _;
use rpc::snippets::v1::Snippet;
use rpc::views::v1::{ViewBatch, ViewCount};
use stack::{Port, Prometheus, Proxy, Service, until};
use tempfile::TempDir;

use crate::metrics::{self, Metrics};
use crate::prometheus;
use crate::publisher::{Publisher, batch_id};

pub struct Scene {
    pub prometheus: Prometheus,
    snippets: Service,
    worker: Service,
    client: Client,
    /// Of two snippets.
    ids: [String; 2],
    /// Of batches that no replica has sent.
    publisher: Publisher,
    network: Network,
    _spool: TempDir,
}

/// What can be cut off.
struct Network {
    database: Proxy,
    publishing: Proxy,
    consuming: Proxy,
}

impl Scene {
    /// Counters are there once they have counted, so everything has to happen once.
    pub async fn play() -> Self {
        let scene = Self::set().await;
        scene.views_are_counted().await;
        scene.batches_are_rejected_and_repeated().await;
        scene.views_of_deleted_snippets_come().await;
        scene.the_broker_is_away_from_the_replica().await;
        scene.the_database_is_away().await;
        scene
    }

    /// Of both services together.
    pub async fn exposed(&self) -> Metrics {
        let mut all = String::new();
        for service in [&self.snippets, &self.worker] {
            all += &service.metrics().await.unwrap();
        }
        metrics::exposed(&all)
    }

    async fn set() -> Self {
        let mut backends = e2e::backends().await;
        for program in ["snippets", "counter-worker"] {
            e2e::service_of(&backends, program).unwrap().run("migrate").await.unwrap();
        }
        let publisher = Publisher::connect(&backends.amqp_url).await;
        let (database, database_url) = Proxy::before_url(&backends.database_url).await.unwrap();
        let (publishing, publishing_url) = Proxy::before_url(&backends.amqp_url).await.unwrap();
        let (consuming, consuming_url) = Proxy::before_url(&backends.amqp_url).await.unwrap();
        backends.database_url = database_url;
        backends.amqp_url = consuming_url;
        let worker = e2e::service_of(&backends, "counter-worker").unwrap().start().await.unwrap();
        backends.amqp_url = publishing_url;
        let (spool, nobody) = (tempfile::tempdir().unwrap(), Port::free().unwrap());
        let snippets = e2e::service_of(&backends, "snippets")
            .unwrap()
            .env("RATELIMIT_URL", format!("http://{}", nobody.addr()))
            .env("VIEWS_PENDING_MAX", "1")
            .env("VIEW_SPOOL_DIR", spool.path().to_string_lossy())
            .start()
            .await
            .unwrap();
        let prometheus = prometheus(&[("snippets", &snippets), ("counter-worker", &worker)]).await;
        let client = Client::to(&snippets).await.unwrap();
        let ids = [create(&client).await, create(&client).await];
        let network = Network { database, publishing, consuming };
        Self { prometheus, snippets, worker, client, ids, publisher, network, _spool: spool }
    }

    async fn views_are_counted(&self) {
        self.until_counted(&self.worker, "counter_worker_views_total", async || self.read(0).await).await;
    }

    async fn batches_are_rejected_and_repeated(&self) {
        self.publisher.publish(b"not a batch").await;
        let rejected = "counter_worker_batches_total{outcome=\"rejected\"}";
        self.until_counted(&self.worker, rejected, async || ()).await;
        let dead = "counter_worker_queue_messages{queue=\"views.dead\"}";
        self.until_counted(&self.worker, dead, async || ()).await;

        let batch = ViewBatch { counts: vec![count("repeated")], ..batch(1) }.encode_to_vec();
        let duplicate = "counter_worker_batches_total{outcome=\"duplicate\"}";
        self.until_counted(&self.worker, duplicate, async || self.publisher.publish(&batch).await).await;
    }

    /// Deletions hold for what is in the same batch, too.
    async fn views_of_deleted_snippets_come(&self) {
        let deleted_snippet_ids = vec!["gone".to_owned()];
        let batch = ViewBatch { counts: vec![count("gone")], deleted_snippet_ids, ..batch(2) };
        self.publisher.publish(&batch.encode_to_vec()).await;
        self.until_counted(&self.worker, "counter_worker_views_dropped_total", async || ()).await;
    }

    /// Its memory has room for one of two snippets.
    async fn the_broker_is_away_from_the_replica(&self) {
        self.network.publishing.cut().await;
        for metric in [
            "broker_connection_failures_total",
            "snippets_view_batches_unconfirmed",
            "snippets_view_batches_total{outcome=\"failed\"}",
            "snippets_views_dropped_total{reason=\"bound\"}",
        ] {
            let read = async || {
                self.read(0).await;
                self.read(1).await;
            };
            self.until_counted(&self.snippets, metric, read).await;
        }
        self.network.publishing.restore().await.unwrap();
    }

    /// The worker's connection to the broker is lost, too, while it holds a batch that it can't commit.
    async fn the_database_is_away(&self) {
        self.network.database.cut().await;
        let failed = "counter_worker_commit_failures_total";
        self.until_counted(&self.worker, failed, async || self.read(0).await).await;
        let stale = "snippets_view_count_refresh_failures_total";
        self.until_counted(&self.snippets, stale, async || self.read(0).await).await;
        self.network.consuming.cut().await;
        self.until_counted(&self.worker, "broker_connection_failures_total", async || ()).await;
        self.network.consuming.restore().await.unwrap();
        self.network.database.restore().await.unwrap();
        self.until_counted(&self.worker, "counter_worker_redeliveries_total", async || ()).await;
    }

    /// Views a snippet; without the database only for as long as the cache has it.
    async fn read(&self, index: usize) {
        drop(self.client.get(&self.ids[index]).await);
    }

    async fn until_counted(&self, service: &Service, metric: &str, mut action: impl AsyncFnMut()) {
        let counted = until(metric, PATIENCE, async || {
            action().await;
            service.metric(metric).await.unwrap() > 0.0
        });
        counted.await.unwrap_or_else(|error| panic!("{error}; {}", service.log()));
    }
}

async fn create(client: &Client) -> String {
    client.create(Snippet { body: "x".into(), ..Snippet::default() }).await.unwrap().id
}

/// An empty batch of now.
fn batch(number: u64) -> ViewBatch {
    let now = SystemTime::now();
    ViewBatch {
        batch_id: batch_id(now, number),
        publisher: "test".into(),
        window_start: Some(now.into()),
        window_end: Some(now.into()),
        ..ViewBatch::default()
    }
}

fn count(id: &str) -> ViewCount {
    ViewCount { snippet_id: id.into(), views: 1 }
}
