//! The service as its clients see it, on real Redis.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use rpc::ratelimit::v1::{Algorithm, CheckRequest, ListRulesRequest};
use stack::{Redis, RedisPolicy, StartedWhen};
use support::{
    PATIENCE,
    service::{
        ask, builder, check, client, descriptor, refused, rules_file, shared, violated_fields, write_by,
    },
};
use tonic::Code;
use tonic_types::StatusExt as _;

#[tokio::test]
async fn of_70_writes_60_pass() {
    let service = shared(&stack::unique("writes")).start().await.unwrap();
    let mut client = client(&service).await;
    let mut answers = Vec::new();
    for _ in 0..70 {
        answers.push(ask(&mut client, &write_by("free", "ann")).await);
    }
    assert_eq!(answers.iter().filter(|answer| answer.allowed).count(), 60);
    assert_eq!((answers[0].statuses[0].remaining, answers[59].statuses[0].remaining), (59, 0));
    let denied = &answers[69];
    let status = &denied.statuses[0];
    assert_eq!((status.rule.as_str(), status.limit, status.allowed), ("writes", 60, false));
    assert_eq!((status.algorithm(), status.descriptor_index), (Algorithm::SlidingWindow, 0));
    assert_eq!(denied.retry_after, status.retry_after);
    assert!((1..=60).contains(&denied.retry_after.unwrap().seconds), "{denied:?}");
    assert!(ask(&mut client, &write_by("premium", "ann")).await.allowed, "another rule has its own count");
    assert!(ask(&mut client, &write_by("free", "bob")).await.allowed, "another caller has its own count");
    for (outcome, count) in [("allowed", 62.0), ("denied", 10.0)] {
        let selector = format!("ratelimit_decisions_total{{domain=\"snippets\",outcome=\"{outcome}\"}}");
        assert!((service.metric(&selector).await.unwrap() - count).abs() < 0.1, "{selector}");
    }
}

#[tokio::test]
async fn two_replicas_share_the_count() {
    let prefix = stack::unique("replicas");
    let (one, two) = tokio::try_join!(shared(&prefix).start(), shared(&prefix).start()).unwrap();
    let mut clients = [client(&one).await, client(&two).await];
    let mut admitted = 0;
    for call in 0..70 {
        admitted += u32::from(ask(&mut clients[call % 2], &write_by("free", "ann")).await.allowed);
    }
    assert_eq!(admitted, 60);
}

#[tokio::test]
async fn what_no_rule_matches_passes() {
    let service = shared(&stack::unique("unmatched")).start().await.unwrap();
    let mut client = client(&service).await;
    for request in [check("nowhere", &[("a", "b")]), check("snippets", &[("a", "b")])] {
        let answer = ask(&mut client, &request).await;
        assert!(answer.allowed && answer.statuses.is_empty() && answer.retry_after.is_none());
    }
    let selector = r#"ratelimit_decisions_total{domain="unknown",rule="none"}"#;
    assert!((service.metric(selector).await.unwrap() - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_peek_looks_and_a_cost_counts() {
    let service = shared(&stack::unique("peek")).start().await.unwrap();
    let mut client = client(&service).await;
    let mut request = write_by("free", "ann");
    request.descriptors[0].cost = 50;
    assert_eq!(ask(&mut client, &request).await.statuses[0].remaining, 10);
    request.peek = true;
    for _ in 0..3 {
        let answer = ask(&mut client, &request).await;
        assert_eq!((answer.allowed, answer.statuses[0].remaining), (false, 10));
    }
    // The same subject twice in one Check is charged the sum.
    let mut twice = write_by("free", "ann");
    twice.descriptors.push(twice.descriptors[0].clone());
    let answer = ask(&mut client, &twice).await;
    let told: Vec<_> =
        answer.statuses.iter().map(|status| (status.descriptor_index, status.remaining)).collect();
    assert_eq!(told, [(0, 8), (1, 8)]);
}

#[tokio::test]
async fn bad_input_names_every_field() {
    let service = shared(&stack::unique("input")).start().await.unwrap();
    let mut client = client(&service).await;

    let status = refused(&mut client, CheckRequest::default()).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(violated_fields(&status), ["domain", "descriptors"]);
    assert_eq!(status.get_details_error_info().unwrap().domain, "ratelimit");

    let mut request = check("snippets", &[("tier", "free"), ("", "")]);
    request.descriptors.push(descriptor(&[]));
    request.descriptors.push(descriptor(&[("k", &"v".repeat(1025))]));
    let fields = violated_fields(&refused(&mut client, request).await);
    assert_eq!(
        fields,
        ["descriptors[0].entries[1].key", "descriptors[1].entries", "descriptors[2].entries[0].value"]
    );

    let mut too_many = check("snippets", &[("k", "v"); 17]);
    too_many.descriptors = vec![too_many.descriptors[0].clone(); 17];
    let fields = violated_fields(&refused(&mut client, too_many).await);
    assert_eq!(
        (fields.len(), fields[0].as_str(), fields[1].as_str()),
        (17, "descriptors", "descriptors[0].entries")
    );

    let mut costly = write_by("free", "ann");
    costly.descriptors.insert(0, descriptor(&[("k", "v")]));
    costly.descriptors[1].cost = 61;
    assert_eq!(violated_fields(&refused(&mut client, costly).await), ["descriptors[1].cost"]);
}

#[tokio::test]
async fn the_rules_in_force_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules_file(
        folder.path(),
        "domain: shop\ndescriptors:\n  - key: caller\n    limits:\n      \
         - {name: calls, algorithm: token_bucket, limit: 10, period: 2s, burst: 3, shadow_mode: true}\n",
    );
    let service = shared(&stack::unique("list")).env("RATELIMIT_RULES", rules).start().await.unwrap();
    let mut client = client(&service).await;
    let listed = client.list_rules(ListRulesRequest::default()).await.unwrap().into_inner();
    let [rule] = listed.rules.as_slice() else { panic!("{listed:?}") };
    assert_eq!((rule.domain.as_str(), rule.rule.as_str(), rule.shadow), ("shop", "calls", true));
    assert_eq!((rule.algorithm(), rule.limit, rule.burst), (Algorithm::TokenBucket, 10, 3));
    assert_eq!(rule.period.unwrap().seconds, 2);
    assert!(!listed.version.is_empty());
    let elsewhere = client.list_rules(ListRulesRequest { domain: "snippets".into() }).await.unwrap();
    assert!(elsewhere.into_inner().rules.is_empty());
}

#[tokio::test]
async fn it_starts_with_redis_away_and_becomes_ready_by_itself() {
    let redis = Redis::start(RedisPolicy::Counters).await.unwrap();
    redis.kill();
    let service = builder(redis.url(), "rl").started_when(StartedWhen::Live).start().await.unwrap();
    let ready = stack::http_get(service.admin_addr(), "/readyz").await.unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("redis"), "{}", ready.body);
    redis.restart().await.unwrap();
    let is_ready =
        async || stack::http_get(service.admin_addr(), "/readyz").await.is_ok_and(|it| it.status == 200);
    stack::until("the service is ready", PATIENCE, is_ready).await.unwrap();
    assert!(ask(&mut client(&service).await, &write_by("free", "ann")).await.allowed);
}

#[tokio::test]
async fn invalid_rules_end_the_process_with_file_line_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = rules_file(
        folder.path(),
        "domain: shop\ndescriptors:\n  - {key: a, limits: [{limit: 0, period: 1m}]}\n",
    );
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_ratelimit"))
        .envs([("COUNTERS_REDIS_URL", "redis://127.0.0.1:1"), ("RATELIMIT_RULES", path.as_str())])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("{path}:3:31: limit must be from 1")), "{error}");
}
