//! The product under test.

use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use rpc::snippets::v1::Tier;
use stack::{Backends, Database, Product, ProductBuilder, Service, eventually};

use crate::views::view_counts;
use crate::{Client, Counts, PATIENCE, Views, until_ready};

const ADMIN_KEY: &str = "the-admin-key-of-the-tests";
const LOG_TAIL_LINES: usize = 30;
/// Longer than services take to drain.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// A running product. If the test fails, it prints the end of each service's log.
#[derive(Debug)]
pub struct Rig {
    /// Its services.
    pub product: Product,
    database: Database,
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
        let database = builder.database();
        let product = builder.start().await?;
        for service in product.services() {
            until_ready(service).await?;
        }
        let replica = product.snippets.first().ok_or_else(|| anyhow!("the tests need a replica"))?;
        let client = Client::of(replica)?;
        let owner_key = client.with_key(ADMIN_KEY).new_key(Tier::Premium).await?;
        Ok(Self { product, database, owner_key })
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
    /// anew. Once the marker is counted and the worker has ended in order, too, everything is, so that nothing can follow.
    ///
    /// The replicas must say the same of each snippet, and the hours and days must add up to it.
    pub async fn settled(&self, of: &Counts) -> anyhow::Result<Counts> {
        let workers = &self.product.counter_workers;
        let reader = self.first_reader()?;
        let marker = self.owner(&reader).create("marker").await?.id;
        for service in self.product.snippets.iter().chain(workers) {
            stop(service).await?;
        }
        for service in self.product.snippets.iter().chain(workers.first()) {
            restart(service).await?;
        }
        let mark = Views::default();
        mark.read(&reader, &marker).await?;
        mark.until_counted(&reader).await?;
        for service in workers.iter().take(1) {
            stop(service).await?;
        }
        for service in workers {
            restart(service).await?;
        }
        let counted = self.totals(of).await?;
        self.assert_rolled_up(&counted).await?;
        for reader in self.readers()? {
            until_shown(&reader, &counted).await?;
        }
        Ok(counted)
    }

    /// What the database says of these snippets, also of those that are gone.
    pub async fn totals(&self, of: &Counts) -> anyhow::Result<Counts> {
        self.added_up("views.totals", of).await
    }

    /// How many deletions the workers have yet to be told of.
    pub async fn untold(&self) -> anyhow::Result<u64> {
        Ok(self.database.execute("SELECT count(*) FROM snippets.deletions").await?.parse()?)
    }

    /// The hours and the days have to tell the same.
    async fn assert_rolled_up(&self, totals: &Counts) -> anyhow::Result<()> {
        let by_hour = self.added_up("views.hourly", totals).await?;
        let by_day = self.added_up("views.daily", totals).await?;
        ensure!(by_hour == *totals, "the hours add up to {by_hour:?}, not {totals:?}");
        ensure!(by_day == *totals, "the days add up to {by_day:?}, not {totals:?}");
        Ok(())
    }

    async fn added_up(&self, table: &str, of: &Counts) -> anyhow::Result<Counts> {
        let query = format!("SELECT snippet_id, sum(views) FROM {table} GROUP BY snippet_id");
        let rows = self.database.execute(&query).await?;
        let mut counted: Counts = of.keys().map(|id| (id.clone(), 0)).collect();
        for (id, views) in rows.lines().filter_map(|row| row.split_once('|')) {
            if let Some(count) = counted.get_mut(id) {
                *count = views.parse()?;
            }
        }
        Ok(counted)
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

/// A replica that was just started says 0 of a snippet while the database is slow to tell.
async fn until_shown(reader: &Client, counted: &Counts) -> anyhow::Result<()> {
    let shown = eventually(PATIENCE, async || {
        let shown = view_counts(reader, counted).await?;
        ensure!(shown == *counted, "a replica shows {shown:?}, not {counted:?}");
        Ok(())
    });
    shown.await
}

async fn restart(service: &Service) -> anyhow::Result<()> {
    service.restart().await?;
    until_ready(service).await
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
