//! The worker's binary while its servers freeze, die and come back.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::time::Duration;

use broker::topology::{BATCHES_QUEUE, DEAD_QUEUE};
use bytes::Bytes;
use stack::{Postgres, RabbitMq, Service, StartedWhen, http_get, until};
use support::{
    Totals, add,
    broker::Publisher,
    flood, payload,
    worker::{Bench, PATIENCE},
};
use uuid::Uuid;

async fn readyz(worker: &Service) -> (u16, String) {
    let answer = http_get(worker.admin_addr(), "/readyz").await.expect("an answer");
    (answer.status, answer.body)
}

async fn wait_for_readyz(worker: &Service, status: u16, text: &str) {
    let what = format!("/readyz is {status} and says {text:?}");
    let said = async || {
        let (now, body) = readyz(worker).await;
        now == status && body.contains(text)
    };
    if let Err(error) = until(&what, PATIENCE, said).await {
        panic!("{error}; it says {:?}\n{}", readyz(worker).await, worker.log());
    }
}

#[tokio::test]
async fn it_starts_with_everything_away_says_so_and_becomes_ready_by_itself() {
    let (postgres, rabbitmq) = tokio::try_join!(Postgres::start(), RabbitMq::start()).expect("servers");
    let database = postgres.database().await.expect("a database");
    let bench = Bench { database_url: database.url().to_owned(), amqp_url: rabbitmq.url().to_owned() };
    postgres.kill();
    rabbitmq.kill();

    let worker = bench.worker().started_when(StartedWhen::Live).start().await.expect("live");
    wait_for_readyz(&worker, 503, "postgres: ").await;
    wait_for_readyz(&worker, 503, "rabbitmq: ").await;
    postgres.restart().await.expect("postgres");
    wait_for_readyz(&worker, 503, "counter-worker migrate").await;
    bench.migrate().await;
    rabbitmq.restart().await.expect("rabbitmq");
    wait_for_readyz(&worker, 200, "ready").await;

    let (payloads, expected) = flood(10);
    Publisher::connect(&bench.amqp_url).await.publish(&payloads).await;
    bench.wait_for_totals(&expected).await;
    assert!(!worker.log().contains("amqp://") && !worker.log().contains("postgres://"), "no URL is logged");
}

// The freeze comes first: RabbitMQ keeps the name of a new queue in memory for 3 s, and a broker that is killed within
// them never finds that queue's leader again.
#[tokio::test]
async fn a_broker_that_freezes_or_dies_is_found_again() {
    let rabbitmq = RabbitMq::start().await.expect("a broker");
    let bench = Bench::on_broker(&format!("{}?heartbeat=2", rabbitmq.url())).await;
    let worker = bench.start_worker().await;
    let mut expected = Totals::new();
    let mut publish = async || {
        let (payloads, more) = flood(500);
        add(&mut expected, more);
        Publisher::connect(&bench.amqp_url).await.publish(&payloads).await;
        expected.clone()
    };

    let frozen = publish().await;
    rabbitmq.pause();
    // Noticed after two heartbeats without a sign.
    wait_for_readyz(&worker, 200, "rabbitmq: ").await;
    rabbitmq.resume();
    bench.wait_for_totals(&frozen).await;

    for _ in 0..2 {
        let killed = publish().await;
        // What the worker holds and has not acknowledged comes again.
        rabbitmq.restart().await.expect("restarted");
        bench.wait_for_totals(&killed).await;
    }
    wait_for_readyz(&worker, 200, "ready").await;
    assert_settled(&bench, &worker, &expected).await;
}

#[tokio::test]
async fn a_frozen_or_killed_database_loses_nothing() {
    let postgres = Postgres::start().await.expect("a server");
    let database = postgres.database().await.expect("a database");
    let bench = Bench::on_database(database.url()).await;
    let worker = bench.start_worker().await;
    let publisher = Publisher::connect(&bench.amqp_url).await;
    let mut expected = Totals::new();

    for killed in [false, true] {
        let (payloads, more) = flood(1_000);
        add(&mut expected, more);
        let (before, during) = payloads.split_at(500);
        publisher.publish(before).await;
        if killed {
            postgres.kill();
        } else {
            postgres.pause();
        }
        publisher.publish(during).await;
        wait_for_readyz(&worker, 200, "postgres: ").await;
        if killed {
            postgres.restart().await.expect("restarted");
        } else {
            postgres.resume();
        }
        bench.wait_for_totals(&expected).await;
    }
    assert_settled(&bench, &worker, &expected).await;
}

/// As large as the snippets service makes them.
fn greatest_batches(batches: usize) -> (Vec<Bytes>, Totals) {
    let counts: Vec<(String, u64)> = (0..5_000).map(|n| (format!("snippet{n:04}"), 1_000_000)).collect();
    let wire: Vec<(&str, u64)> = counts.iter().map(|(id, views)| (id.as_str(), *views)).collect();
    let views = i64::try_from(batches).expect("a few") * 1_000_000;
    let payloads = (0..batches).map(|_| payload(Uuid::now_v7(), &wire)).collect();
    (payloads, counts.into_iter().map(|(id, _)| (id, views)).collect())
}

#[tokio::test]
async fn a_backlog_of_large_batches_takes_little_memory() {
    let postgres = Postgres::start().await.expect("a server");
    let database = postgres.database().await.expect("a database");
    let bench = Bench::on_database(database.url()).await;
    let worker = bench.start_worker().await;
    let publisher = Publisher::connect(&bench.amqp_url).await;
    postgres.pause();
    let (payloads, expected) = greatest_batches(400);
    publisher.publish(&payloads).await;
    // Twice FLUSH_BATCHES_MAX are the worker's.
    let held = async || publisher.waiting(BATCHES_QUEUE).await == 400 - 256;
    until("the worker holds what it may", PATIENCE, held).await.expect("held");
    let peak = memory_peak_mib(&worker);
    postgres.resume();
    bench.wait_for_totals(&expected).await;
    let peak = peak.max(memory_peak_mib(&worker));
    println!("{peak} MiB");
    assert!(peak < 150, "{peak} MiB");
    assert_settled(&bench, &worker, &expected).await;
}

/// The most memory that the process ever had, as Linux knows it.
fn memory_peak_mib(service: &Service) -> u64 {
    let path = format!("/proc/{}/status", service.pid().expect("it runs"));
    let status = std::fs::read_to_string(path).expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    kib.expect("a number") / 1024
}

/// Ends the worker, after which whatever it had not acknowledged is back in the queue: nothing must be.
async fn assert_settled(bench: &Bench, worker: &Service, expected: &Totals) {
    worker.terminate(Duration::from_secs(30)).await.expect("ended");
    let publisher = Publisher::connect(&bench.amqp_url).await;
    assert_eq!(publisher.waiting(BATCHES_QUEUE).await, 0, "{}", worker.log());
    assert_eq!(publisher.waiting(DEAD_QUEUE).await, 0, "{}", worker.log());
    assert_eq!(&bench.totals().await, expected);
}
