//! `counter-worker dead-letters` as an operator runs it, against a real broker.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may")]

mod command;
mod grave;
mod held_acks;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use broker::topology::{BATCHES_QUEUE, DEAD_QUEUE};
use command::{dead_letters, spawn_dead_letters};
use grave::{Buried, Grave};
use held_acks::HeldAcks;
use stack::{Service, until};
use support::{
    flood, payload,
    worker::{Bench, PATIENCE},
};
use uuid::Uuid;

/// Two batches, something that is none, and a batch of nothing that has no name.
fn four() -> [Buried; 4] {
    let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
    [
        Buried::named(&a.to_string(), payload(a, &[("a", 3), ("b", 4)])),
        Buried::named("junk", b"\xff\xff not protobuf".as_slice().into()),
        Buried::named(&b.to_string(), payload(b, &[("a", 1)])),
        Buried { id: None, payload: payload(Uuid::now_v7(), &[]) },
    ]
}

async fn wait_for_duplicates(worker: &Service, batches: u32) {
    let duplicates = "counter_worker_batches_total{outcome=\"duplicate\"}";
    let all_seen = async || worker.metric(duplicates).await.unwrap() >= f64::from(batches);
    until("the repetitions are seen", PATIENCE, all_seen).await.unwrap();
}

#[tokio::test]
async fn letters_are_listed_in_their_order_and_stay_where_they_are() {
    let vhost = stack::shared().amqp_vhost().await;
    let grave = Grave::open(vhost.url()).await;
    let letters = four();
    grave.bury(&letters).await;

    for _ in 0..3 {
        let list = dead_letters(vhost.url(), &["list"]).await.succeeded();
        let lines: Vec<&str> = list.lines().collect();
        let [first, second, third, fourth, summary] = lines[..] else { panic!("{list}") };
        assert!(first.starts_with(letters[0].id.as_deref().unwrap()), "{list}");
        for part in ["rejected 1x in views.batches", "2 snippets, 7 views", "by \"test\""] {
            assert!(first.contains(part), "{part} is not in {first}");
        }
        assert!(second.starts_with("junk ") && second.contains("malformed: the payload is not"), "{list}");
        assert!(third.contains("1 snippet, 1 view "), "{list}");
        assert!(fourth.starts_with("sha256:") && fourth.contains("malformed: the batch is empty"), "{list}");
        assert_eq!(summary, "4 dead letters: 2 well-formed with 8 views, 2 malformed");
    }
    let list = dead_letters(vhost.url(), &["list", "--limit", "1"]).await.succeeded();
    assert!(list.ends_with("1 dead letter: 1 well-formed with 7 views, 0 malformed (and 3 more: --limit)\n"));

    let list = dead_letters(vhost.url(), &["list", "--json"]).await.succeeded();
    let lines: Vec<serde_json::Value> =
        list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["views"], 7);
    assert_eq!(lines[0]["malformed"], serde_json::Value::Null);
    assert_eq!((&lines[1]["reason"], &lines[1]["deaths"]), (&"rejected".into(), &1.into()));
    assert_eq!(lines[1]["bytes"], 15);
}

#[tokio::test]
async fn all_of_a_letter_is_shown() {
    let vhost = stack::shared().amqp_vhost().await;
    let grave = Grave::open(vhost.url()).await;
    let letters = four();
    grave.bury(&letters).await;

    let id = letters[0].id.as_deref().unwrap();
    let page = dead_letters(vhost.url(), &["show", id, "--counts", "1"]).await.succeeded();
    let parts = [
        &format!("message id: {id}"),
        "content type: application/protobuf",
        &format!("header traceparent: {}", grave::TRACEPARENT),
        "header x-death: [{",
        "3 views of a",
        "and 1 more: --counts",
    ];
    for part in parts {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let page = dead_letters(vhost.url(), &["show", "junk"]).await.succeeded();
    assert!(page.contains("00000000  ff ff 20 6e 6f 74"), "{page}");
    let error = dead_letters(vhost.url(), &["show", "nobody"]).await.failed();
    assert!(error.contains("no dead letter is called nobody"), "{error}");
    assert_eq!(grave.waiting(DEAD_QUEUE).await, 4);
}

#[tokio::test]
async fn who_stops_reading_a_list_is_not_told_of_it() {
    let vhost = stack::shared().amqp_vhost().await;
    let grave = Grave::open(vhost.url()).await;
    grave.bury(&four()).await;
    let mut command = spawn_dead_letters(vhost.url(), &["list"]);
    drop(command.stdout.take());
    let ended = tokio::task::spawn_blocking(move || command.wait_with_output()).await.unwrap().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    assert_eq!(grave.waiting(DEAD_QUEUE).await, 4);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let vhost = stack::shared().amqp_vhost().await;
    let grave = Grave::open(vhost.url()).await;
    let letters = four();
    grave.bury(&letters).await;

    let said = dead_letters(vhost.url(), &["replay", "--all", "--dry-run"]).await.succeeded();
    assert!(said.contains(&format!("{}  would be replayed", letters[0].id.as_deref().unwrap())), "{said}");
    assert!(said.contains("junk  left where it is: the payload is not a ViewBatch"), "{said}");
    assert!(said.ends_with("2 dead letters would be replayed, 2 malformed left where they are\n"));
    let said = dead_letters(vhost.url(), &["purge", "--all", "--dry-run"]).await.succeeded();
    assert!(said.ends_with("4 dead letters would be purged\n"), "{said}");
    assert_eq!((grave.waiting(DEAD_QUEUE).await, grave.waiting(BATCHES_QUEUE).await), (4, 0));
}

#[tokio::test]
async fn what_is_replayed_is_the_same_message_without_its_death() {
    let vhost = stack::shared().amqp_vhost().await;
    let grave = Grave::open(vhost.url()).await;
    let letters = four();
    grave.bury(&letters).await;

    let id = letters[2].id.clone().unwrap();
    let said = dead_letters(vhost.url(), &["replay", &id]).await.succeeded();
    assert!(said.contains(&format!("{id}  replayed")), "{said}");
    assert_eq!(grave.take_batch().await, (grave::properties(Some(&id)), letters[2].payload.to_vec()));
    assert_eq!(grave.waiting(DEAD_QUEUE).await, 3);

    let said = dead_letters(vhost.url(), &["replay", "--all", "--limit", "1"]).await.succeeded();
    assert!(said.ends_with("1 dead letter replayed, 0 malformed left where they are\n"), "{said}");
    assert_eq!(grave.take_batch().await.1, letters[0].payload);
    // The malformed ones still have their order.
    let list = dead_letters(vhost.url(), &["list"]).await.succeeded();
    assert!(list.starts_with("junk ") && list.lines().count() == 3, "{list}");
}

#[tokio::test]
async fn what_is_replayed_counts_once_however_often() {
    let bench = Bench::shared().await;
    let grave = Grave::open(&bench.amqp_url).await;
    let letters = four();
    grave.bury(&letters).await;

    let worker = bench.start_worker().await;
    dead_letters(&bench.amqp_url, &["replay", "--all"]).await.succeeded();
    bench.wait_for_sum(8).await;
    assert_eq!(grave.waiting(DEAD_QUEUE).await, 2);
    // The same batches are dead letters again, after all.
    grave.publish_to_dead_letters(&letters).await;
    dead_letters(&bench.amqp_url, &["replay", "--all"]).await.succeeded();
    wait_for_duplicates(&worker, 2).await;
    assert_eq!(bench.sum().await, 8);

    let error = dead_letters(&bench.amqp_url, &["replay", "junk"]).await.failed();
    assert!(error.contains("malformed, and left where they are: junk"), "{error}");
    let before = grave.waiting(DEAD_QUEUE).await;
    dead_letters(&bench.amqp_url, &["replay", "junk", "--malformed"]).await.succeeded();
    let died_again = async || grave.waiting(DEAD_QUEUE).await == before;
    until("it has died again", PATIENCE, died_again).await.unwrap();
}

#[tokio::test]
async fn killed_between_confirm_and_ack_it_loses_nothing_and_counts_nothing_twice() {
    let bench = Bench::shared().await;
    let grave = Grave::open(&bench.amqp_url).await;
    let letters = four();
    grave.bury(&letters).await;

    let mut proxy = HeldAcks::before_url(&bench.amqp_url).await;
    let mut command = spawn_dead_letters(proxy.url(), &["replay", "--all"]);
    proxy.until_held().await;
    command.kill().unwrap();
    command.wait().unwrap();
    drop(proxy);
    let given_back = async || grave.waiting(DEAD_QUEUE).await == 4;
    until("the broker has the letters back", PATIENCE, given_back).await.unwrap();
    assert_eq!(grave.waiting(BATCHES_QUEUE).await, 2, "they were confirmed");

    dead_letters(&bench.amqp_url, &["replay", "--all"]).await.succeeded();
    assert_eq!((grave.waiting(DEAD_QUEUE).await, grave.waiting(BATCHES_QUEUE).await), (2, 4));
    let worker = bench.start_worker().await;
    wait_for_duplicates(&worker, 2).await;
    assert_eq!(bench.sum().await, 8);
}

#[tokio::test]
async fn letters_that_no_queue_takes_stay_dead_letters() {
    let vhost = stack::shared().amqp_vhost().await;
    let grave = Grave::open(vhost.url()).await;
    grave.bury(&four()).await;
    grave.delete(BATCHES_QUEUE).await;
    let error = dead_letters(vhost.url(), &["replay", "--all"]).await.failed();
    assert!(error.contains("NO_ROUTE") && error.contains("dead letters still"), "{error}");
    assert_eq!(grave.waiting(DEAD_QUEUE).await, 4);
}

#[tokio::test]
async fn what_is_purged_is_gone_and_nothing_else() {
    let vhost = stack::shared().amqp_vhost().await;
    let grave = Grave::open(vhost.url()).await;
    let letters = four();
    grave.bury(&letters).await;

    let id = letters[2].id.clone().unwrap();
    let refused = dead_letters(vhost.url(), &["purge", &id, "nobody"]).await;
    assert!(refused.stdout.ends_with("1 dead letter purged\n"), "{}", refused.stdout);
    assert!(refused.failed().contains("no dead letter is called nobody"));
    assert_eq!(grave.waiting(DEAD_QUEUE).await, 3);
    let said = dead_letters(vhost.url(), &["purge", "--malformed"]).await.succeeded();
    assert!(said.contains("junk  purged") && said.ends_with("2 dead letters purged\n"), "{said}");
    let said = dead_letters(vhost.url(), &["purge", "--all"]).await.succeeded();
    assert!(said.ends_with("1 dead letter purged\n"), "{said}");

    // And of nothing.
    let list = dead_letters(vhost.url(), &["list"]).await.succeeded();
    assert_eq!(list, "0 dead letters: 0 well-formed with 0 views, 0 malformed\n");
    for action in ["replay", "purge"] {
        let said = dead_letters(vhost.url(), &[action, "--all"]).await.succeeded();
        assert!(said.starts_with("0 dead letters"), "{said}");
        let usage = dead_letters(vhost.url(), &[action]).await.failed();
        assert!(usage.contains("--all"), "{usage}");
    }
}

#[tokio::test]
async fn without_a_broker_or_a_queue_it_says_so_soon() {
    let vhost = stack::shared().amqp_vhost().await;
    let error = dead_letters(vhost.url(), &["list"]).await.failed();
    assert!(error.contains("there is no queue views.dead in this virtual host"), "{error}");

    let since = Instant::now();
    let away = dead_letters("amqp://user:hunter2@127.0.0.1:1/%2f", &["replay", "--all"]).await;
    assert!(since.elapsed() < Duration::from_secs(30), "took {:?}", since.elapsed());
    assert!(!format!("{}{}", away.stdout, away.stderr).contains("hunter2"));
    let error = away.failed();
    assert!(error.contains("no connection to the broker"), "{error}");
    let error = dead_letters("", &["list"]).await.failed();
    assert!(error.contains("--amqp-url (AMQP_URL): is required"), "{error}");
}

#[tokio::test]
async fn thousands_are_replayed_by_two_operators_at_once_each_once() {
    const LETTERS: usize = 5_000;
    let bench = Bench::shared().await;
    let grave = Grave::open(&bench.amqp_url).await;
    let (payloads, expected) = flood(LETTERS);
    let letters: Vec<Buried> = payloads.into_iter().map(|payload| Buried { id: None, payload }).collect();
    grave.bury(&letters).await;
    let list = dead_letters(&bench.amqp_url, &["list", "--limit", "100000"]).await.succeeded();
    assert_eq!(list.lines().count(), LETTERS + 1);

    let replay = ["replay", "--all"];
    let (one, other) =
        tokio::join!(dead_letters(&bench.amqp_url, &replay), dead_letters(&bench.amqp_url, &replay));
    let (one, other) = (one.succeeded(), other.succeeded());
    assert_eq!(one.lines().count() + other.lines().count(), LETTERS + 2);
    assert_eq!((grave.waiting(DEAD_QUEUE).await, grave.waiting(BATCHES_QUEUE).await), (0, 5_000));
    let _worker = bench.start_worker().await;
    bench.wait_for_totals(&expected).await;
}
