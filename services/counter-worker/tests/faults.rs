//! The worker's binary while its servers freeze, die and come back.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::time::Duration;

use broker::topology::{BATCHES_QUEUE, DEAD_QUEUE};
use stack::{Postgres, RabbitMq, Service, StartedWhen, http_get, until};
use support::{
    Totals, add,
    broker::Publisher,
    flood,
    worker::{Bench, PATIENCE},
};

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

/// Ends the worker, after which whatever it had not acknowledged is back in the queue: nothing must be.
async fn assert_settled(bench: &Bench, worker: &Service, expected: &Totals) {
    worker.terminate(Duration::from_secs(30)).await.expect("ended");
    let publisher = Publisher::connect(&bench.amqp_url).await;
    assert_eq!(publisher.waiting(BATCHES_QUEUE).await, 0, "{}", worker.log());
    assert_eq!(publisher.waiting(DEAD_QUEUE).await, 0, "{}", worker.log());
    assert_eq!(&bench.totals().await, expected);
}
