//! The worker's binary on servers of the test's choice.

use std::time::Duration;

use counter_worker::adapters::postgres::PostgresTotals;
use secrecy::SecretString;
use sqlx::PgPool;
use stack::{Service, ServiceBuilder, until};

use super::Totals;

/// Long enough for a crowded machine; a test that passes waits for nothing like it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A worker's surroundings.
pub struct Bench {
    pub database_url: String,
    pub amqp_url: String,
}

impl Bench {
    /// On the shared servers, migrated.
    pub async fn shared() -> Self {
        let (database, vhost) = tokio::join!(stack::shared().database(), stack::shared().amqp_vhost());
        Self::migrated(database.url(), vhost.url()).await
    }

    /// On a broker of the test's own, migrated.
    pub async fn on_broker(amqp_url: &str) -> Self {
        Self::migrated(stack::shared().database().await.url(), amqp_url).await
    }

    /// On a database of the test's own, migrated.
    pub async fn on_database(database_url: &str) -> Self {
        Self::migrated(database_url, stack::shared().amqp_vhost().await.url()).await
    }

    async fn migrated(database_url: &str, amqp_url: &str) -> Self {
        let bench = Self { database_url: database_url.to_owned(), amqp_url: amqp_url.to_owned() };
        bench.migrate().await;
        bench
    }

    pub async fn migrate(&self) {
        PostgresTotals::migrate(&SecretString::from(self.database_url.as_str())).await.expect("migrated");
    }

    /// A worker that is not started yet.
    pub fn worker(&self) -> ServiceBuilder {
        Service::builder("counter-worker", env!("CARGO_BIN_EXE_counter-worker").into())
            .env("DATABASE_URL", &self.database_url)
            .env("AMQP_URL", &self.amqp_url)
    }

    pub async fn start_worker(&self) -> Service {
        self.worker().start().await.expect("a worker that is ready")
    }

    /// What a reader sees; nothing while the database is away.
    pub async fn totals(&self) -> Totals {
        let Ok(reader) = PgPool::connect(&self.database_url).await else {
            return Totals::new();
        };
        let rows = sqlx::query_as("SELECT snippet_id, views FROM views.totals").fetch_all(&reader).await;
        reader.close().await;
        rows.unwrap_or_default().into_iter().collect()
    }

    pub async fn sum(&self) -> i64 {
        self.totals().await.values().sum()
    }

    /// Waits until at least so many views are counted.
    pub async fn wait_for_sum(&self, views: i64) {
        let what = format!("{views} views are counted");
        until(&what, PATIENCE, async || self.sum().await >= views).await.expect("counted");
    }

    /// Waits for the totals. Whoever wants to know that nothing is counted twice asks again when the queue is empty.
    pub async fn wait_for_totals(&self, expected: &Totals) {
        self.wait_for_sum(expected.values().sum()).await;
        assert_eq!(&self.totals().await, expected);
    }
}
