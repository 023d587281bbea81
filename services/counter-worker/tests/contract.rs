//! What every store of totals must do, tried on each of them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{collections::BTreeMap, slice, time::Duration};

use counter_worker::{
    adapters::{postgres::PostgresTotals, sqlite::SqliteTotals},
    domain::Batch,
    ports::{Applied, StoreError, TotalsStore},
};
use secrecy::SecretString;
use sqlx::{Executor as _, PgPool, SqlitePool};
use support::{Totals, add, batch};
use tokio::task::JoinSet;
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn flood(batches: usize) -> (Vec<Batch>, Totals) {
    let (payloads, totals) = support::flood(batches);
    (payloads.iter().map(|it| Batch::parse(it).expect("well-formed")).collect(), totals)
}

/// A fresh place for totals.
trait Place: Sized {
    type Store: TotalsStore;

    async fn create() -> Self;
    /// A store as another worker would have it.
    async fn store(&self) -> Self::Store;
    /// What a reader sees.
    async fn totals(&self) -> Totals;
    /// Makes all batches a week older.
    async fn age_batches(&self);
}

async fn a_batch_counts_once_however_often_it_comes<P: Place>() {
    let place = P::create().await;
    let once = batch(Uuid::now_v7(), &[("a", 2), ("b", 3)]);
    let store = place.store().await;
    let twice = [once.clone(), once.clone()];
    let applied = store.apply(&twice).await.expect("applied");
    assert_eq!(applied, Applied { new_batches: 1, duplicates: 1, views: 5 });
    for _ in 0..3 {
        let applied = store.apply(slice::from_ref(&once)).await.expect("applied");
        assert_eq!(applied, Applied { new_batches: 0, duplicates: 1, views: 0 });
    }
    assert_eq!(place.totals().await, totals(&[("a", 2), ("b", 3)]));
}

async fn a_batch_counts_once_when_it_comes_everywhere_at_once<P: Place>() {
    let place = P::create().await;
    let once = batch(Uuid::now_v7(), &[("a", 2), ("b", 3)]);
    let mut workers = JoinSet::new();
    for _ in 0..5 {
        let (store, once) = (place.store().await, once.clone());
        workers.spawn(async move { store.apply(&[once]).await.expect("applied") });
    }
    let applied = workers.join_all().await;
    assert_eq!(applied.iter().map(|applied| applied.new_batches).sum::<u64>(), 1);
    assert_eq!(place.totals().await, totals(&[("a", 2), ("b", 3)]));
}

async fn batches_add_up<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let old = batch(Uuid::now_v7(), &[("a", 1), ("b", 10)]);
    store.apply(slice::from_ref(&old)).await.expect("applied");
    let mixed = [batch(Uuid::now_v7(), &[("b", 5), ("c", 7)]), old, batch(Uuid::now_v7(), &[("b", 100)])];
    let applied = store.apply(&mixed).await.expect("applied");
    assert_eq!(applied, Applied { new_batches: 2, duplicates: 1, views: 112 });
    assert_eq!(place.totals().await, totals(&[("a", 1), ("b", 115), ("c", 7)]));
}

const WORKERS: usize = 8;

/// Applies each worker's flushes, all workers side by side.
async fn apply_side_by_side<P: Place>(place: &P, workers: Vec<Vec<Vec<Batch>>>) {
    let mut running = JoinSet::new();
    for flushes in workers {
        let store = place.store().await;
        running.spawn(async move {
            for flush in flushes {
                store.apply(&flush).await.expect("no deadlock");
            }
        });
    }
    running.join_all().await;
}

/// Such as a queue whose every message is delivered eight times, in no order.
async fn workers_with_the_same_batches_neither_deadlock_nor_miscount<P: Place>() {
    let place = P::create().await;
    let (batches, expected) = flood(400);
    let flushes = |worker: usize| {
        let mut flushes: Vec<Vec<Batch>> = batches.chunks(40).map(<[Batch]>::to_vec).collect();
        if worker % 2 == 1 {
            for flush in &mut flushes {
                flush.reverse();
            }
        }
        flushes
    };
    apply_side_by_side(&place, (0..WORKERS).map(flushes).collect()).await;
    assert_eq!(place.totals().await, expected);
}

async fn workers_on_the_same_snippets_neither_deadlock_nor_miscount<P: Place>() {
    let place = P::create().await;
    let (mut expected, mut workers) = (Totals::new(), Vec::new());
    for _ in 0..WORKERS {
        let (batches, more) = flood(400);
        add(&mut expected, more);
        workers.push(batches.chunks(20).map(<[Batch]>::to_vec).collect());
    }
    apply_side_by_side(&place, workers).await;
    assert_eq!(place.totals().await, expected);
}

async fn a_total_stops_at_the_largest_number<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    for views in [i64::MAX.unsigned_abs() - 1, 5, 5] {
        store.apply(&[batch(Uuid::now_v7(), &[("a", views), ("b", 1)])]).await.expect("applied");
    }
    assert_eq!(place.totals().await, totals(&[("a", i64::MAX), ("b", 3)]));
}

async fn only_old_batches_are_pruned_and_boundedly<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let old: Vec<Batch> = (0..5).map(|_| batch(Uuid::now_v7(), &[("a", 1)])).collect();
    store.apply(&old).await.expect("applied");
    assert_eq!(store.prune(DAY, 100).await.expect("pruned"), 0);
    place.age_batches().await;
    let young = batch(Uuid::now_v7(), &[("a", 1)]);
    store.apply(slice::from_ref(&young)).await.expect("applied");
    assert_eq!(store.prune(DAY, 3).await.expect("pruned"), 3);
    assert_eq!(store.prune(DAY, 3).await.expect("pruned"), 2);
    assert_eq!(store.apply(&[young]).await.expect("applied").duplicates, 1, "the young one is remembered");
    assert_eq!(place.totals().await, totals(&[("a", 6)]), "pruning takes no views away");
}

macro_rules! contract {
    ($place:ident: $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case::<super::$place>().await;
            }
        )*
    };
    ($($module:ident($place:ident)),*) => {
        $(mod $module {
            contract! {
                $place:
                a_batch_counts_once_however_often_it_comes,
                a_batch_counts_once_when_it_comes_everywhere_at_once,
                batches_add_up,
                workers_with_the_same_batches_neither_deadlock_nor_miscount,
                workers_on_the_same_snippets_neither_deadlock_nor_miscount,
                a_total_stops_at_the_largest_number,
                only_old_batches_are_pruned_and_boundedly,
            }
        })*
    };
}

contract!(postgres(Postgres), sqlite(Sqlite));

struct Postgres {
    url: SecretString,
    reader: PgPool,
}

impl Place for Postgres {
    type Store = PostgresTotals;

    async fn create() -> Self {
        let url = stack::shared().database().await.url().to_owned();
        let reader = PgPool::connect(&url).await.expect("connected");
        let url = SecretString::from(url);
        PostgresTotals::migrate(&url).await.expect("migrated");
        Self { url, reader }
    }

    async fn store(&self) -> PostgresTotals {
        let store = PostgresTotals::new(&self.url).expect("a valid URL");
        store.ready().await.expect("ready");
        store
    }

    async fn totals(&self) -> Totals {
        let rows = sqlx::query_as("SELECT snippet_id, views FROM views.totals").fetch_all(&self.reader);
        rows.await.expect("read").into_iter().collect()
    }

    async fn age_batches(&self) {
        let update = "UPDATE views.batches SET applied_at = applied_at - interval '7 days'";
        self.reader.execute(update).await.expect("updated");
    }
}

struct Sqlite {
    file: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Sqlite {
    /// The way the snippets service reads: a file of its own, with this one attached.
    async fn reader(&self) -> SqlitePool {
        let own = self.file.with_file_name("reader.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(own).create_if_missing(true);
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
        let reader = pool.connect_with(options).await.expect("connected");
        let attach = sqlx::query("ATTACH ? AS views").bind(self.file.to_str()).execute(&reader);
        attach.await.expect("attached");
        reader
    }
}

impl Place for Sqlite {
    type Store = SqliteTotals;

    async fn create() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { file: dir.path().join("views.db"), _dir: dir }
    }

    async fn store(&self) -> SqliteTotals {
        let store = SqliteTotals::open(&self.file).await.expect("opened");
        store.ready().await.expect("ready");
        store
    }

    async fn totals(&self) -> Totals {
        let reader = self.reader().await;
        let rows = sqlx::query_as("SELECT snippet_id, views FROM views.totals").fetch_all(&reader);
        rows.await.expect("read").into_iter().collect()
    }

    async fn age_batches(&self) {
        let update = "UPDATE views.batches SET applied_at = applied_at - 7 * 86400";
        self.reader().await.execute(update).await.expect("updated");
    }
}

#[tokio::test]
async fn migrations_may_race_and_repeat() {
    let database = stack::shared().database().await;
    let url = SecretString::from(database.url());
    let store = PostgresTotals::new(&url).expect("a valid URL");
    assert!(matches!(store.ready().await, Err(StoreError::NotMigrated)));
    let error = store.apply(&[batch(Uuid::now_v7(), &[("a", 1)])]).await.expect_err("no tables");
    assert!(matches!(error, StoreError::NotMigrated) && error.is_transient());

    let migrate = || PostgresTotals::migrate(&url);
    let (first, second) = tokio::join!(migrate(), migrate());
    first.and(second).expect("migrated");
    migrate().await.expect("nothing left to do");
    store.ready().await.expect("ready");
}

#[tokio::test]
async fn an_unreachable_database_is_transient_and_its_password_unsaid() {
    let url = SecretString::from("postgres://user:hunter2@127.0.0.1:1/database");
    let error = PostgresTotals::new(&url).expect("a valid URL").ready().await.expect_err("nobody listens");
    assert!(error.is_transient());
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

fn totals(expected: &[(&str, i64)]) -> Totals {
    expected.iter().map(|(id, views)| ((*id).to_owned(), *views)).collect::<BTreeMap<_, _>>()
}
