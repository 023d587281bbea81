//! The worker within a process: channel and SQLite.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use chassis::Background;
use counter_worker::{
    Settings,
    adapters::channel::{BatchSender, SendError},
    startup::start_embedded,
};
use sqlx::SqlitePool;
use support::payload;
use tokio::task::JoinSet;
use uuid::Uuid;

const STOP_TIMEOUT: Duration = Duration::from_secs(5);

async fn sum(file: &std::path::Path) -> i64 {
    let reader = SqlitePool::connect(&format!("sqlite:{}", file.display())).await.expect("connected");
    sqlx::query_scalar("SELECT coalesce(sum(views), 0) FROM totals").fetch_one(&reader).await.expect("read")
}

async fn send(sender: &BatchSender, payload: Bytes) -> Result<(), SendError> {
    sender.send(payload, Vec::new()).await
}

#[tokio::test]
async fn what_is_confirmed_is_committed_and_survives() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("views.db");
    let mut background = Background::default();
    let sender = start_embedded(&file, Settings::default(), &mut background).await.expect("started");

    let repeated = payload(Uuid::now_v7(), &[("a", 7)]);
    assert_eq!(send(&sender, repeated.clone()).await, Ok(()));
    assert_eq!(sum(&file).await, 7, "the answer came after the commit");
    assert_eq!(send(&sender, repeated).await, Ok(()));
    assert_eq!(send(&sender, Bytes::from_static(b"\xff")).await, Err(SendError::Rejected));
    background.stop(STOP_TIMEOUT).await;
    assert_eq!(send(&sender, payload(Uuid::now_v7(), &[("a", 1)])).await, Err(SendError::Ended));

    let mut background = Background::default();
    let sender = start_embedded(&file, Settings::default(), &mut background).await.expect("started again");
    assert_eq!(send(&sender, payload(Uuid::now_v7(), &[("a", 1)])).await, Ok(()));
    background.stop(STOP_TIMEOUT).await;
    assert_eq!(sum(&file).await, 8);
}

#[tokio::test]
async fn stopping_commits_what_was_gathered() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("views.db");
    let mut background = Background::default();
    // So long that beyond a full flush only stopping can end the wait.
    let settings = Settings { flush_interval: Duration::from_secs(3600), flush_batches_max: 10 };
    let sender = start_embedded(&file, settings, &mut background).await.expect("started");
    let mut senders = JoinSet::new();
    for _ in 0..15 {
        let sender = sender.clone();
        senders.spawn(async move { send(&sender, payload(Uuid::now_v7(), &[("a", 1)])).await });
    }
    for _ in 0..10 {
        assert_eq!(senders.join_next().await.expect("a sender").expect("no panic"), Ok(()));
    }
    assert_eq!(sum(&file).await, 10);
    background.stop(STOP_TIMEOUT).await;
    assert_eq!(senders.join_all().await, [Ok(()); 5]);
    assert_eq!(sum(&file).await, 15);
}
