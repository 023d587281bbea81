//! The worker's binary on real servers, in fair weather and killed in the middle of a flood.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::time::Duration;

use broker::topology::{BATCHES_QUEUE, DEAD_QUEUE};
use bytes::Bytes;
use stack::{Service, StartedWhen, until};
use support::{
    broker::Publisher,
    flood, payload,
    worker::{Bench, PATIENCE},
};
use uuid::Uuid;

#[tokio::test]
async fn views_are_counted_within_a_second_and_each_batch_once() {
    let bench = Bench::shared().await;
    let worker = bench.start_worker().await;
    let publisher = Publisher::connect(&bench.amqp_url).await;

    let batch = payload(Uuid::now_v7(), &[("a", 3), ("b", 4)]);
    publisher.publish(std::slice::from_ref(&batch)).await;
    let since = std::time::Instant::now();
    bench.wait_for_sum(7).await;
    assert!(since.elapsed() < Duration::from_secs(1), "took {:?}", since.elapsed());

    publisher.publish(&[batch.clone(), batch.clone(), batch]).await;
    publisher.publish(&[payload(Uuid::now_v7(), &[("b", 1)])]).await;
    bench.wait_for_sum(8).await;
    let outcome = async |outcome: &str| {
        let selector = format!("counter_worker_batches_total{{outcome=\"{outcome}\"}}");
        worker.metric(&selector).await.expect("a metric")
    };
    until("the repetitions are seen", PATIENCE, async || outcome("duplicate").await >= 3.0)
        .await
        .expect("seen");
    assert_eq!(bench.sum().await, 8);
    assert!((outcome("applied").await - 2.0).abs() < f64::EPSILON);
    assert!(worker.metric("counter_worker_lag_seconds_count").await.expect("a metric") >= 2.0);
}

#[tokio::test]
async fn a_batch_delivered_five_times_also_to_two_workers_at_once_counts_once() {
    let bench = Bench::shared().await;
    // Long enough for both to have the copies at hand, which they commit at once.
    let worker = || bench.worker().env("FLUSH_INTERVAL", "500ms").start();
    let (one, two) = tokio::try_join!(worker(), worker()).expect("two workers");
    let publisher = Publisher::connect(&bench.amqp_url).await;
    let (payloads, expected) = flood(40);
    let copies: Vec<Bytes> = payloads.iter().flat_map(|it| std::iter::repeat_n(it.clone(), 5)).collect();
    publisher.publish(&copies).await;

    let outcome = async |worker: &Service, outcome: &str| {
        let selector = format!("counter_worker_batches_total{{outcome=\"{outcome}\"}}");
        worker.metric(&selector).await.expect("a metric")
    };
    let of_both = async |what: &str| outcome(&one, what).await + outcome(&two, what).await;
    let all = async || of_both("applied").await + of_both("duplicate").await >= 200.0;
    until("every copy was looked at", PATIENCE, all).await.expect("looked at");
    assert!((of_both("applied").await - 40.0).abs() < f64::EPSILON);
    for worker in [&one, &two] {
        assert!(outcome(worker, "duplicate").await > 0.0, "the broker deals them out in turn");
    }
    assert_eq!(bench.totals().await, expected);
}

#[tokio::test]
async fn deliveries_that_were_another_workers_are_told_apart() {
    let bench = Bench::shared().await;
    let publisher = Publisher::connect(&bench.amqp_url).await;
    let (payloads, expected) = flood(30);
    let first = bench.worker().env("FLUSH_INTERVAL", "1h").start().await.expect("ready");
    publisher.publish(&payloads).await;
    let delivered = async || publisher.waiting(BATCHES_QUEUE).await == 0;
    until("the worker has all batches", PATIENCE, delivered).await.expect("delivered");
    first.kill();
    let second = bench.start_worker().await;
    bench.wait_for_totals(&expected).await;
    let redelivered = second.metric("counter_worker_redeliveries_total").await.expect("a metric");
    assert!((redelivered - 30.0).abs() < f64::EPSILON, "{redelivered}");
    let in_flushes = second.metric("counter_worker_flush_batches_sum").await.expect("a metric");
    assert!((in_flushes - 30.0).abs() < f64::EPSILON, "{in_flushes}");
}

#[tokio::test]
async fn the_lengths_of_the_queues_are_told_as_soon_as_there_are_queues() {
    let mut bench = Bench::shared().await;
    // Without a database nothing is taken from the queue.
    bench.database_url = "postgres://nobody@127.0.0.1:1/nowhere".to_owned();
    let worker = bench.worker().started_when(StartedWhen::Live).start().await.expect("live");
    let depth = async |queue: &str| {
        let selector = format!("counter_worker_queue_messages{{queue=\"{queue}\"}}");
        worker.metric(&selector).await.expect("a metric")
    };
    let publisher = Publisher::connect(&bench.amqp_url).await;
    let (payloads, _) = flood(30);
    publisher.publish(&payloads).await;
    publisher.bury(&payloads[..2]).await;
    let told = async || depth(BATCHES_QUEUE).await >= 30.0 && depth(DEAD_QUEUE).await >= 2.0;
    until("the lengths are told", PATIENCE, told).await.expect("told");
    assert!((depth(BATCHES_QUEUE).await - 30.0).abs() < f64::EPSILON);
    assert!((depth(DEAD_QUEUE).await - 2.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn malformed_batches_go_to_the_dead_letters_and_hold_nothing_up() {
    let bench = Bench::shared().await;
    let _worker = bench.start_worker().await;
    let publisher = Publisher::connect(&bench.amqp_url).await;

    let malformed = [
        Bytes::from_static(b"\xff\xff not protobuf"),
        Bytes::new(),
        payload(Uuid::nil(), &[("a", 1)]),
        payload(Uuid::now_v7(), &[]),
        payload(Uuid::now_v7(), &[("good", 1), ("overflow", 1 << 63)]),
    ];
    let (mut payloads, expected) = flood(20);
    for (at, bad) in malformed.iter().enumerate() {
        payloads.insert(at * 3, bad.clone());
    }
    publisher.publish(&payloads).await;
    bench.wait_for_totals(&expected).await;

    let all_dead = async || publisher.waiting(DEAD_QUEUE).await == 5;
    until("all five are dead letters", PATIENCE, all_dead).await.expect("dead");
    for bad in malformed {
        let dead = publisher.take(DEAD_QUEUE).await.expect("a dead letter");
        assert_eq!(dead.delivery.data, bad);
        let headers = dead.delivery.properties.headers().as_ref().expect("headers");
        assert!(headers.contains_key("x-death"), "it says where it came from");
    }
    assert_eq!(bench.totals().await, expected, "a bad batch is refused whole");
}

#[tokio::test]
async fn killed_in_the_middle_of_a_flood_nothing_is_lost_or_counted_twice() {
    let bench = Bench::shared().await;
    let publisher = Publisher::connect(&bench.amqp_url).await;
    let (payloads, expected) = flood(4_000);
    let total: i64 = expected.values().sum();

    // Small flushes, so that each kill meets one half done.
    let worker = || bench.worker().env("FLUSH_INTERVAL", "5ms").env("FLUSH_BATCHES_MAX", "8").start();
    let first = worker().await.expect("ready");
    let flooding = publisher.publish(&payloads);
    let killing = async {
        for percent in [10, 30, 50] {
            bench.wait_for_sum(total * percent / 100).await;
            first.kill();
            first.restart().await.expect("ready again");
        }
        // A second one beside it, and the first is gone for good.
        let second = worker().await.expect("ready");
        bench.wait_for_sum(total * 70 / 100).await;
        first.kill();
        second
    };
    let ((), second) = tokio::join!(flooding, killing);
    bench.wait_for_totals(&expected).await;

    // It acknowledges what it has before it ends; what it had not would be back in the queue.
    let status = second.terminate(PATIENCE).await.expect("ended");
    assert!(status.success(), "{status}\n{}", second.log());
    assert_eq!(publisher.waiting(BATCHES_QUEUE).await, 0);
    assert_eq!(publisher.waiting(DEAD_QUEUE).await, 0);
    assert_eq!(bench.totals().await, expected);
}

#[tokio::test]
async fn a_stopped_worker_commits_and_acknowledges_what_it_has_gathered() {
    let bench = Bench::shared().await;
    // So long that only stopping can end the wait.
    let worker = bench.worker().env("FLUSH_INTERVAL", "1h").start().await.expect("ready");
    let publisher = Publisher::connect(&bench.amqp_url).await;
    let (payloads, expected) = flood(30);
    publisher.publish(&payloads).await;
    let delivered = async || publisher.waiting(BATCHES_QUEUE).await == 0;
    until("the worker has all batches", PATIENCE, delivered).await.expect("delivered");
    assert_eq!(bench.sum().await, 0);

    let status = worker.terminate(PATIENCE).await.expect("ended");
    assert!(status.success(), "{status}\n{}", worker.log());
    // Some of them may have been on the wire to it, and are back in the queue; none is anywhere else.
    let counted = bench.sum().await;
    assert!(counted > 0);
    assert_eq!(counted == expected.values().sum::<i64>(), publisher.waiting(BATCHES_QUEUE).await == 0);
}
