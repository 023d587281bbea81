//! The pool, with meters of what becomes of its connections.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use sqlx::{Error, PgPool, Postgres, pool::PoolConnection};
use tokio::time::Instant;

use super::lent::Lent;

/// Lends connections.
#[derive(Debug)]
pub(super) struct Pool {
    connections: PgPool,
    used: AtomicU32,
    meters: Meters,
}

impl Pool {
    /// Meters are labelled with `name`.
    pub(super) fn new(name: &'static str, connections: PgPool) -> Self {
        let meters = Meters::new(name);
        meters.max.set(f64::from(connections.options().get_max_connections()));
        Self { connections, used: AtomicU32::new(0), meters }
    }

    /// Waits for a connection.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Lent, Error> {
        let since = Instant::now();
        let acquired = self.connections.acquire().await;
        self.meters.acquire_seconds.record(since.elapsed());
        let connection = acquired.inspect_err(|_| self.meters.failures.increment(1))?;
        self.used.fetch_add(1, Ordering::Relaxed);
        self.tell();
        Ok(Lent::new(connection, self.clone()))
    }

    /// Takes a connection back; one that is not kept is closed.
    pub(super) fn take_back(&self, connection: PoolConnection<Postgres>, is_kept: bool) {
        if is_kept {
            drop(connection);
        } else {
            drop(connection.detach());
        }
        self.used.fetch_sub(1, Ordering::Relaxed);
        self.tell();
    }

    pub(super) async fn close(&self) {
        self.connections.close().await;
    }

    /// Its connections as they are now. Each probe of the service's health lends one, so this is told once a second at least.
    fn tell(&self) {
        let used = self.used.load(Ordering::Relaxed);
        self.meters.used.set(f64::from(used));
        self.meters.idle.set(f64::from(self.connections.size().saturating_sub(used)));
    }
}

#[derive(Debug)]
struct Meters {
    max: Gauge,
    used: Gauge,
    idle: Gauge,
    acquire_seconds: Histogram,
    failures: Counter,
}

impl Meters {
    fn new(pool: &'static str) -> Self {
        let failures = counter!("database_acquire_failures_total", "pool" => pool);
        failures.increment(0);
        let connections = |state| gauge!("database_connections", "pool" => pool, "state" => state);
        Self {
            max: gauge!("database_connections_max", "pool" => pool),
            used: connections("used"),
            idle: connections("idle"),
            acquire_seconds: histogram!("database_acquire_seconds", "pool" => pool),
            failures,
        }
    }
}
