//! The stores in Postgres.

#[path = "../../src/adapters/postgres/workers_schema.rs"]
mod workers_schema;

use crate::{
    contract::{HasAccounts, HasSnippets, World, stores_hold},
    sample,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use snippets::{
    adapters::postgres::{
        Database, Options, PostgresAccountStore, PostgresDeletions, PostgresInvalidations,
        PostgresPageTokenKeys, PostgresSnippetLists, PostgresSnippetStore, PostgresSweep,
        PostgresViewHistory, PostgresViewTotals, migrate,
    },
    domain::{Granularity, Period, SnippetId, SnippetPatch, Version, Visibility, now},
    ports::{
        AccountStore, Deletions, InsertError, Invalidations as _, PageTokenKeys, SnippetLists, SnippetStore,
        StoreError, Sweep, ViewHistory, ViewTotals,
    },
};
use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

struct PostgresWorld {
    database: stack::Database,
    snippets: PostgresSnippetStore,
    lists: PostgresSnippetLists,
    accounts: PostgresAccountStore,
    sweep: PostgresSweep,
    deletions: PostgresDeletions,
    page_token_keys: PostgresPageTokenKeys,
    totals: PostgresViewTotals,
    history: PostgresViewHistory,
}

async fn world() -> PostgresWorld {
    let database = stack::shared().database().await;
    migrate(&database.url().into()).await.unwrap();
    let pool = Database::new(&Options::new(database.url().into())).unwrap();
    PostgresWorld {
        database,
        snippets: PostgresSnippetStore::new(pool.clone()),
        lists: PostgresSnippetLists::new(pool.clone()),
        accounts: PostgresAccountStore::new(pool.clone()),
        deletions: PostgresDeletions::new(pool.clone()),
        sweep: PostgresSweep::new(pool.clone()),
        page_token_keys: PostgresPageTokenKeys::new(pool.clone()),
        totals: PostgresViewTotals::new(pool.clone()),
        history: PostgresViewHistory::new(pool),
    }
}

impl HasSnippets for PostgresWorld {
    fn snippets(&self) -> &dyn SnippetStore {
        &self.snippets
    }
}

impl HasAccounts for PostgresWorld {
    fn accounts(&self) -> &dyn AccountStore {
        &self.accounts
    }
}

#[async_trait]
impl World for PostgresWorld {
    fn lists(&self) -> &dyn SnippetLists {
        &self.lists
    }

    fn sweep(&self) -> &dyn Sweep {
        &self.sweep
    }

    fn deletions(&self) -> &dyn Deletions {
        &self.deletions
    }

    fn page_token_keys(&self) -> &dyn PageTokenKeys {
        &self.page_token_keys
    }

    fn totals(&self) -> &dyn ViewTotals {
        &self.totals
    }

    fn history(&self) -> &dyn ViewHistory {
        &self.history
    }

    async fn make_view_tables(&self) {
        workers_schema::create(&self.database).await;
    }

    async fn count_views(&self, totals: &[(&str, i64)]) {
        let rows: Vec<_> = totals.iter().map(|(id, views)| format!("('{id}', {views})")).collect();
        let sql =
            format!("insert into views.totals_by_stripe (snippet_id, views) values {}", rows.join(", "));
        self.database.execute(&sql).await.unwrap();
    }

    async fn count_buckets(&self, granularity: Granularity, buckets: &[(&str, DateTime<Utc>, i64)]) {
        let table = match granularity {
            Granularity::Hour => "hourly",
            Granularity::Day => "daily",
        };
        let rows: Vec<_> =
            buckets.iter().map(|(id, start, views)| format!("('{id}', '{start}', {views})")).collect();
        let sql = format!("insert into views.{table}_by_stripe values {}", rows.join(", "));
        self.database.execute(&sql).await.unwrap();
    }
}

stores_hold!(super::world);

#[tokio::test]
async fn each_database_has_a_page_token_key_of_its_own() {
    let [one, two] = [world().await, world().await];
    let [one, two] = [one.page_token_keys.page_token_key().await, two.page_token_keys.page_token_key().await];
    assert_ne!(one.unwrap().expose(), two.unwrap().expose());
}

#[tokio::test]
async fn a_counter_is_the_sum_of_its_rows_and_stops_at_the_largest_number() {
    let world = world().await;
    world.make_view_tables().await;
    let [some, most] = [SnippetId::generate(), SnippetId::generate()];
    let hour: DateTime<Utc> = "2026-11-21T12:00:00Z".parse().unwrap();
    for (id, views) in [(&some, 2), (&most, i64::MAX - 1)] {
        for stripe in [0, 1, 7] {
            let sql = format!(
                "insert into views.totals_by_stripe (snippet_id, stripe, views) values ('{id}', {stripe}, {views});
                 insert into views.hourly_by_stripe (snippet_id, start_time, stripe, views) values ('{id}', '{hour}', {stripe}, {views})"
            );
            world.database.execute(&sql).await.unwrap();
        }
    }
    let totals = world.totals.totals(&[some, most]).await.unwrap();
    assert_eq!(totals, HashMap::from([(some, 6), (most, i64::MAX.unsigned_abs())]));
    let period = Period::parse(Some(hour), Some(hour + Duration::from_secs(3600)), hour).unwrap();
    let range = period.in_buckets(Granularity::Hour).unwrap();
    for (id, views) in [(&some, 6), (&most, i64::MAX.unsigned_abs())] {
        assert_eq!(world.history.stats(id, range).await.unwrap().total(), views);
    }
}

#[tokio::test]
async fn changes_of_which_there_may_be_copies_are_noted_until_the_cache_was_told() {
    let world = world().await;
    let noted =
        PostgresInvalidations::new(Database::new(&Options::new(world.database.url().into())).unwrap());
    let due = "update snippets.invalidations set due = now()";
    let (edited, deleted) = (sample::snippet(), sample::visible(Visibility::Unlisted));
    let uncached = [
        sample::visible(Visibility::Private),
        sample::limited(2),
        sample::expiring(now() - Duration::from_secs(1)),
    ];
    for snippet in [&edited, &deleted].into_iter().chain(&uncached) {
        world.snippets.insert(snippet, None).await.unwrap();
    }
    let (edited, deleted) = (edited.metadata.id, deleted.metadata.id);
    let edit = async || world.snippets.update(&edited, &SnippetPatch::default(), None, now()).await.unwrap();
    edit().await;
    for id in [deleted].into_iter().chain(uncached.map(|snippet| snippet.metadata.id)) {
        world.snippets.delete(&id, None).await.unwrap();
    }

    world.database.execute(due).await.unwrap();
    let second = Version::FIRST.next();
    let owed: HashMap<_, _> = noted.owed(10).await.unwrap().into_iter().collect();
    assert_eq!(owed, HashMap::from([(edited, second), (deleted, second)]));

    edit().await;
    noted.settled(&[(edited, second), (deleted, second)]).await.unwrap();
    world.database.execute(due).await.unwrap();
    assert_eq!(noted.owed(10).await.unwrap(), [(edited, second.next())]);
    noted.settled(&[(edited, second.next())]).await.unwrap();
    let left = world.database.execute("select count(*) from snippets.invalidations").await.unwrap();
    assert_eq!(left.trim(), "0");
}

#[tokio::test]
async fn migrating_twice_at_once_is_migrating_once() {
    let database = stack::shared().database().await;
    let url = database.url().into();
    let (one, two, three) = tokio::join!(migrate(&url), migrate(&url), migrate(&url));
    assert!(one.is_ok() && two.is_ok() && three.is_ok(), "{one:?} {two:?} {three:?}");
    migrate(&url).await.unwrap();
    // In its own schema, so that the counter worker's migrations don't collide with these.
    let book = database.execute("select count(*) from snippets._sqlx_migrations").await.unwrap();
    let migrations = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres")).unwrap();
    assert_eq!(book.trim(), migrations.count().to_string());
    let strays = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(database.execute(strays).await.unwrap().trim(), "0");
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_unavailable_until_it_is() {
    let database = stack::shared().database().await;
    let pool = Database::new(&Options::new(database.url().into())).unwrap();
    let store = PostgresSnippetStore::new(pool.clone());
    let checked = pool.check().await;
    assert!(matches!(checked, Err(StoreError::Unavailable(_))), "{checked:?}");
    migrate(&database.url().into()).await.unwrap();
    pool.check().await.unwrap();
    assert_eq!(store.get(&SnippetId::generate()).await.unwrap(), None);
}

#[tokio::test]
async fn a_wrong_password_is_not_a_hang() {
    let options = Options::new("postgres://nobody:wrong@127.0.0.1:1/none".into());
    let pool = Database::new(&options).unwrap();
    let began = Instant::now();
    assert!(matches!(pool.check().await, Err(StoreError::Unavailable(_))));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!format!("{options:?}").contains("wrong"));
}

#[tokio::test]
async fn recovers_from_a_restart_and_answers_fast_meanwhile() {
    let server = stack::Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    migrate(&database.url().into()).await.unwrap();
    let pool = Database::new(&Options::new(database.url().into())).unwrap();
    let store = PostgresSnippetStore::new(pool);
    let snippet = sample::snippet();
    store.insert(&snippet, None).await.unwrap();

    server.kill();
    for _ in 0..3 {
        let began = Instant::now();
        let inserted = store.insert(&sample::snippet(), None).await;
        let transient = matches!(
            inserted,
            Err(InsertError::Store(StoreError::Unavailable(_) | StoreError::Indeterminate(_)))
        );
        assert!(transient, "{inserted:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }

    server.restart().await.unwrap();
    let read = async || Ok(store.get(&snippet.metadata.id).await?);
    assert_eq!(stack::eventually(Duration::from_secs(10), read).await.unwrap(), Some(snippet));
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_does_not_use_up_the_connections() {
    let server = stack::Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    migrate(&database.url().into()).await.unwrap();
    let options = Options {
        connections_max: 2,
        statement_timeout: Duration::from_millis(300),
        ..Options::new(database.url().into())
    };
    let store = PostgresSnippetStore::new(Database::new(&options).unwrap());
    let id = SnippetId::generate();
    assert_eq!(store.get(&id).await.unwrap(), None);

    server.pause();
    for _ in 0..4 {
        let began = Instant::now();
        assert!(store.get(&id).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    server.resume();
    let read = async || Ok(store.get(&id).await?);
    assert_eq!(stack::eventually(Duration::from_secs(10), read).await.unwrap(), None);
}
