//! The product under test.

use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use rpc::snippets::v1::Tier;
use stack::{Backends, Product, ProductBuilder, Service, eventually};

use crate::views::view_counts;
use crate::{Client, Counts, PATIENCE, Views};

const ADMIN_KEY: &str = "the-admin-key-of-the-tests";
const LOG_TAIL_LINES: usize = 30;
/// Longer than services take to drain.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// A running product. If the test fails, it prints the end of each service's log.
#[derive(Debug)]
pub struct Rig {
    /// Its services.
    pub product: Product,
    owner_key: String,
}

impl Rig {
    /// Describes a product on these servers. Its patience with the limiter is greater than a user's: the tests share
    /// few cores with many servers.
    pub fn builder(backends: Backends) -> ProductBuilder {
        let builder = Product::builder(backends).env("BOOTSTRAP_ADMIN_KEY", ADMIN_KEY);
        builder.env("RATELIMIT_TIMEOUT", "1s")
    }

    /// Starts it, and makes the account that owns the test's snippets, which may write 300 times a minute.
    pub async fn start(builder: ProductBuilder) -> anyhow::Result<Self> {
        let product = builder.start().await?;
        let replica = product.snippets.first().ok_or_else(|| anyhow!("the tests need a replica"))?;
        let client = Client::of(replica)?;
        let owner_key = client.with_key(ADMIN_KEY).new_key(Tier::Premium).await?;
        Ok(Self { product, owner_key })
    }

    /// An anonymous caller of each replica.
    pub fn readers(&self) -> anyhow::Result<Vec<Client>> {
        self.product.snippets.iter().map(Client::of).collect()
    }

    /// The same caller with the key of the account that owns the test's snippets. Its own reads are no views.
    pub fn owner(&self, reader: &Client) -> Client {
        reader.with_key(&self.owner_key)
    }

    /// The same caller with the admin's key, which no database is needed to recognize.
    pub fn admin(&self, reader: &Client) -> Client {
        reader.with_key(ADMIN_KEY)
    }

    /// The ids of that many fresh public snippets.
    pub async fn snippets(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let owner = self.owner(&self.first_reader()?);
        let mut ids = Vec::new();
        for number in 0..count {
            ids.push(owner.create(&format!("snippet {number}")).await?.id);
        }
        Ok(ids)
    }

    /// Demands that what was answered is what is counted, with nothing left anywhere that could still be.
    pub async fn assert_conserved(&self, views: &Views) -> anyhow::Result<()> {
        let acknowledged = views.acknowledged();
        let counted = self.settled(&acknowledged).await?;
        ensure!(counted == acknowledged, "counted {counted:?}, not {acknowledged:?}");
        Ok(())
    }

    /// How often these snippets are counted in the end.
    ///
    /// All services end in order: replicas send what they hold, and what workers hold goes back to the head of the
    /// queue. Then one more view, a marker's, goes in at its tail, and a worker that has the queue to itself begins
    /// anew. Once the marker is counted everything before it is, so that nothing can follow.
    pub async fn settled(&self, of: &Counts) -> anyhow::Result<Counts> {
        let workers = &self.product.counter_workers;
        let reader = self.first_reader()?;
        let marker = self.owner(&reader).create("marker").await?.id;
        for service in self.product.snippets.iter().chain(workers) {
            stop(service).await?;
        }
        for service in self.product.snippets.iter().chain(workers.first()) {
            service.restart().await?;
        }
        let mark = Views::default();
        mark.read(&reader, &marker).await?;
        mark.until_counted(&reader).await?;
        for service in workers.iter().skip(1) {
            service.restart().await?;
        }
        final_counts(&reader, of).await
    }

    fn first_reader(&self) -> anyhow::Result<Client> {
        Client::of(&self.product.snippets[0])
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if thread::panicking() {
            for service in self.product.services() {
                eprintln!("--- the end of the log of {}:\n{}", service.name(), tail(&service.log()));
            }
        }
    }
}

/// A replica that was just started says 0 of a snippet when the database is slow to tell, and is asked again.
async fn final_counts(reader: &Client, of: &Counts) -> anyhow::Result<Counts> {
    let counted = eventually(PATIENCE, async || {
        let counted = view_counts(reader, of).await?;
        ensure!(counted.values().all(|&views| views > 0), "some are not counted at all: {counted:?}");
        Ok(counted)
    });
    counted.await
}

/// Ends a service in order, if it runs.
async fn stop(service: &Service) -> anyhow::Result<()> {
    if service.pid().is_none() {
        return Ok(());
    }
    let status = service.terminate(STOPPED_WITHIN).await?;
    ensure!(status.success(), "{} ended with {status}", service.name());
    Ok(())
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
