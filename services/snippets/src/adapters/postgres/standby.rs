//! A standby of the database, for what may be read from it.

mod progress;

use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;
use progress::{Position, Progress, Unfit};
use sqlx::{
    Error, Postgres, Row as _,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often it is asked how far the standby is.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A server that takes longer to say where it is does not answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

// What is written is what a standby can have. `synchronous_commit = off` shows commits before they are written, by a second
// at most.
const PRIMARY_AT: &str = "select system_identifier as system, (pg_current_wal_lsn() - '0/0')::bigint as bytes
    from pg_control_system() where not pg_is_in_recovery()";
const STANDBY_AT: &str =
    "select system_identifier as system, (pg_last_wal_replay_lsn() - '0/0')::bigint as bytes
    from pg_control_system() where pg_is_in_recovery()";

/// Answers what it is asked as long as it is known to be young enough. One that fails is not asked again before it has
/// answered a question of ours, so that nobody waits for one that is away.
#[derive(Debug)]
pub(super) struct Standby {
    database: ::database::Database,
    progress: Mutex<Progress>,
    meters: Meters,
}

impl Standby {
    /// Nothing is known of it before [`follow`](Self::follow) runs.
    pub(super) fn new(database: ::database::Database, meters: Meters) -> Self {
        Self { database, progress: Mutex::default(), meters }
    }

    /// Looks how far it is, until stopped.
    pub(super) async fn follow(&self, primary: &::database::Database, stop: CancellationToken) {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let following = async {
            loop {
                ticks.tick().await;
                let asked = Instant::now();
                // One after the other, which lets the standby catch up with what the primary says.
                let at = position(primary, PRIMARY_AT).await;
                self.progress.lock().primary(asked, at);
                let at = position(&self.database, STANDBY_AT).await;
                self.note(at);
            }
        };
        stop.run_until_cancelled(following).await;
    }

    /// The rows of a statement; None if the primary has to be asked. `edited` is when this process has last edited something
    /// that the statement may show.
    pub(super) async fn fetch_all(
        &self,
        query: Query<'_, Postgres, PgArguments>,
        edited: Option<Instant>,
    ) -> Option<Vec<PgRow>> {
        let checked = self.progress.lock().check(Instant::now(), edited);
        if let Err(unfit) = checked {
            self.meters.of(unfit).increment(1);
            return None;
        }
        match self.database.fetch_all(query).await {
            Ok(rows) => {
                self.meters.reads.increment(1);
                Some(rows)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// Succeeds when it was found to be good for reading lately.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self.progress.lock().check(Instant::now(), None) {
            Err(Unfit::Away) => Err("it is away, or not a standby of the database"),
            Err(Unfit::Lagging) => Err("it lags"),
            Ok(()) | Err(Unfit::Edited) => Ok(()),
        }
    }

    pub(super) async fn close(&self) {
        self.database.close().await;
    }

    fn note(&self, at: Option<Position>) {
        let mut progress = self.progress.lock();
        progress.standby(at);
        if let Some(age) = progress.age(Instant::now()) {
            self.meters.age.set(age.as_secs_f64());
        }
    }

    /// What the server itself has said about a statement, such as that a row was in the way of the replay, tells nothing about
    /// the next one.
    fn failed(&self, error: &Error) {
        self.meters.failed.increment(1);
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.is_none_or(|code| code.starts_with("57")) {
            self.progress.lock().standby_failed();
        }
        tracing::debug!(%error, "the read replica of the database failed");
    }
}

async fn position(database: &::database::Database, query: &'static str) -> Option<Position> {
    let row = timeout(LOOK_TIMEOUT, database.fetch_optional(sqlx::query(query))).await.ok()?.ok()??;
    Some(Position { system: row.try_get("system").ok()?, bytes: row.try_get("bytes").ok()? })
}

/// There from the start, so that it shows when nothing has happened yet, or no standby is used.
#[derive(Debug)]
pub(super) struct Meters {
    reads: Counter,
    failed: Counter,
    away: Counter,
    lagging: Counter,
    edited: Counter,
    age: Gauge,
}

impl Meters {
    pub(super) fn new() -> Self {
        let fallbacks = |reason| {
            let counter = counter!("snippets_read_replica_fallbacks_total", "reason" => reason);
            counter.increment(0);
            counter
        };
        let reads = counter!("snippets_read_replica_reads_total");
        reads.increment(0);
        let age = gauge!("snippets_read_replica_age_seconds");
        age.set(f64::NAN);
        Self {
            reads,
            failed: fallbacks("failed"),
            away: fallbacks("away"),
            lagging: fallbacks("lagging"),
            edited: fallbacks("edited"),
            age,
        }
    }

    fn of(&self, unfit: Unfit) -> &Counter {
        match unfit {
            Unfit::Away => &self.away,
            Unfit::Lagging => &self.lagging,
            Unfit::Edited => &self.edited,
        }
    }
}
