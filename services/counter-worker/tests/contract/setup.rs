//! A database that is not there, or not ready.

use counter_worker::{
    adapters::postgres::PostgresTotals,
    ports::{StoreError, TotalsStore as _},
};
use secrecy::SecretString;
use uuid::Uuid;

use crate::support::batch;

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
