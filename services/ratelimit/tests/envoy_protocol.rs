//! What Envoy asks and is told. A real Envoy asks in tests/e2e; here are the corners that one doesn't show.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use rpc::envoy::{
    extensions::common::ratelimit::v3::{
        RateLimitDescriptor,
        rate_limit_descriptor::{Entry, RateLimitOverride},
    },
    service::ratelimit::v3::{
        RateLimitRequest, RateLimitResponse,
        rate_limit_response::{Code as Said, DescriptorStatus, rate_limit::Unit},
        rate_limit_service_client::RateLimitServiceClient,
    },
    r#type::v3::RateLimitUnit,
};
use stack::{Redis, RedisPolicy, Service};
use support::service::{ask, builder, channel, check, client, rules_file, shared, violated_fields};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

type Envoy = RateLimitServiceClient<Channel>;

const RULES: &str = "
domain: edge
descriptors:
  - {key: path, rate_limit: {name: by_path, unit: minute, requests_per_unit: 3}}
  - {key: path, value: /free, rate_limit: {unlimited: true}}
  - {key: path, value: /blocked, rate_limit: {unit: hour, requests_per_unit: 0}}
  - {key: path, value: /watched, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 1}}
  - {key: path, value: /quota, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 1}}
  - {key: path, value: '/files/*', share_threshold: true, rate_limit: {unit: second, requests_per_unit: 1000}}
  - key: both
    limits:
      - {name: wide, algorithm: token_bucket, limit: 100, period: 90s}
      - {name: narrow, algorithm: sliding_window, limit: 2, period: 1h}
  - {key: closed, limits: [{limit: 1, period: 1m, on_error: deny}]}
";

struct Edge {
    service: Service,
    envoy: Envoy,
    _rules: tempfile::TempDir,
}

impl Edge {
    async fn start(headers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = rules_file(folder.path(), RULES);
        let builder = shared(&stack::unique("envoy")).env("RATELIMIT_RULES", rules);
        let service = builder.env("ENVOY_RESPONSE_HEADERS", headers).start().await.unwrap();
        let envoy = Envoy::new(channel(&service).await);
        Self { service, envoy, _rules: folder }
    }

    async fn ask(&mut self, descriptors: &[RateLimitDescriptor]) -> RateLimitResponse {
        self.envoy.should_rate_limit(request(descriptors)).await.unwrap().into_inner()
    }

    async fn status(&mut self, descriptor: &RateLimitDescriptor) -> DescriptorStatus {
        let answer = self.ask(std::slice::from_ref(descriptor)).await;
        let [status] = answer.statuses.as_slice() else { panic!("{answer:?}") };
        status.clone()
    }
}

fn request(descriptors: &[RateLimitDescriptor]) -> RateLimitRequest {
    RateLimitRequest { domain: "edge".into(), descriptors: descriptors.to_vec(), hits_addend: 0 }
}

fn descriptor(key: &str, value: &str) -> RateLimitDescriptor {
    let entries = vec![Entry { key: key.into(), value: value.into() }];
    RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }
}

fn with_hits(descriptor: RateLimitDescriptor, hits: u64) -> RateLimitDescriptor {
    RateLimitDescriptor { hits_addend: Some(hits), ..descriptor }
}

fn told(status: &DescriptorStatus) -> (Said, u32) {
    (status.code(), status.limit_remaining)
}

#[tokio::test]
async fn three_pass_and_the_fourth_is_told_when_to_come_back() {
    let mut edge = Edge::start("none").await;
    let path = descriptor("path", "/");
    for left in [2, 1, 0] {
        assert_eq!(told(&edge.status(&path).await), (Said::Ok, left));
    }
    let answer = edge.ask(&[path]).await;
    let status = &answer.statuses[0];
    assert_eq!((answer.overall_code(), told(status)), (Said::OverLimit, (Said::OverLimit, 0)));
    let limit = status.current_limit.as_ref().unwrap();
    assert_eq!((limit.requests_per_unit, limit.unit(), limit.name.as_str()), (3, Unit::Minute, "by_path"));
    assert!((1..=60).contains(&status.duration_until_reset.unwrap().seconds));
    assert!(answer.response_headers_to_add.is_empty());
}

#[tokio::test]
async fn a_value_of_any_length_is_counted() {
    let mut edge = Edge::start("none").await;
    let long = descriptor("path", &"x".repeat(100_000));
    for left in [2, 1, 0] {
        assert_eq!(told(&edge.status(&long).await), (Said::Ok, left));
    }
    assert_eq!(told(&edge.status(&long).await), (Said::OverLimit, 0));
    let with_others =
        edge.ask(&[descriptor("path", &"y".repeat(2000)), descriptor("path", "/blocked")]).await;
    assert_eq!(with_others.overall_code(), Said::OverLimit);
}

#[tokio::test]
async fn each_descriptor_has_its_status_in_its_place() {
    let mut edge = Edge::start("none").await;
    let asked = [
        descriptor("nothing", "matches"),
        descriptor("path", "/free"),
        descriptor("path", "/"),
        descriptor("both", "x"),
    ];
    let statuses = edge.ask(&asked).await.statuses;
    let expected = [(Said::Ok, 0), (Said::Ok, u32::MAX), (Said::Ok, 2), (Said::Ok, 1)];
    assert_eq!(statuses.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(statuses[0].current_limit.is_none() && statuses[1].current_limit.is_none());
    let closest = statuses[3].current_limit.as_ref().unwrap();
    assert_eq!((closest.name.as_str(), closest.unit()), ("narrow", Unit::Hour), "the one that denies first");
}

#[tokio::test]
async fn one_denial_charges_nobody() {
    let mut edge = Edge::start("none").await;
    let (path, blocked) = (descriptor("path", "/"), descriptor("path", "/blocked"));
    let answer = edge.ask(&[path.clone(), blocked]).await;
    assert_eq!(answer.overall_code(), Said::OverLimit);
    assert_eq!(answer.statuses.iter().map(told).collect::<Vec<_>>(), [(Said::Ok, 3), (Said::OverLimit, 0)]);
    assert_eq!(told(&edge.status(&path).await), (Said::Ok, 2));
}

#[tokio::test]
async fn hits_are_the_descriptors_or_else_the_requests_and_0_looks() {
    let mut edge = Edge::start("none").await;
    let path = descriptor("path", "/");
    let two = RateLimitRequest { hits_addend: 2, ..request(std::slice::from_ref(&path)) };
    let answer = edge.envoy.should_rate_limit(two).await.unwrap().into_inner();
    assert_eq!(told(&answer.statuses[0]), (Said::Ok, 1));
    for _ in 0..3 {
        assert_eq!(told(&edge.status(&with_hits(path.clone(), 0)).await), (Said::Ok, 1));
    }
    assert_eq!(told(&edge.status(&with_hits(path.clone(), 1)).await), (Said::Ok, 0));
    assert_eq!(told(&edge.status(&with_hits(path.clone(), 0)).await), (Said::OverLimit, 0));
    let never = edge.status(&with_hits(descriptor("path", "/other"), 4)).await;
    assert_eq!(told(&never), (Said::OverLimit, 0), "what can never pass is no error");
}

#[tokio::test]
async fn shadow_and_quota_mode_never_deny() {
    let mut edge = Edge::start("none").await;
    let (watched, quota) = (descriptor("path", "/watched"), descriptor("path", "/quota"));
    for expected in [None, Some(1.0)] {
        let answer = edge.ask(&[watched.clone(), quota.clone()]).await;
        assert_eq!(answer.overall_code(), Said::Ok);
        assert!(answer.statuses.iter().all(|status| told(status) == (Said::Ok, 0)), "{answer:?}");
        let violation = answer.dynamic_metadata.map(|metadata| {
            let Some(prost_types::value::Kind::ListValue(list)) =
                &metadata.fields["quotaModeViolations"].kind
            else {
                panic!("{metadata:?}")
            };
            let Some(prost_types::value::Kind::NumberValue(index)) = list.values[0].kind else { panic!() };
            index
        });
        assert_eq!(violation, expected, "of the descriptor in quota mode");
    }
}

#[tokio::test]
async fn a_request_may_bring_its_own_limit() {
    let mut edge = Edge::start("none").await;
    let brought = |unit: RateLimitUnit, multiplier| RateLimitDescriptor {
        limit: Some(RateLimitOverride {
            requests_per_unit: 1,
            unit: unit.into(),
            unit_multiplier: multiplier,
        }),
        ..descriptor("path", "/")
    };
    for (unit, told_unit) in [
        (RateLimitUnit::Minute, Unit::Minute),
        (RateLimitUnit::Hour, Unit::Hour),
        (RateLimitUnit::Year, Unit::Year),
    ] {
        let status = edge.status(&brought(unit, None)).await;
        assert_eq!((told(&status), status.current_limit.unwrap().unit()), ((Said::Ok, 0), told_unit));
        assert_eq!(told(&edge.status(&brought(unit, None)).await), (Said::OverLimit, 0));
    }
    let thrice = edge.status(&brought(RateLimitUnit::Hour, Some(3))).await;
    assert_eq!(told(&thrice), (Said::Ok, 0), "another period is another limit");
    assert!(thrice.duration_until_reset.unwrap().seconds > 2 * 3600);
    assert_eq!(told(&edge.status(&descriptor("path", "/")).await), (Said::Ok, 2), "the rule was not charged");
}

#[tokio::test]
async fn values_share_a_counter_where_the_rules_say_so_and_both_protocols_do() {
    let mut edge = Edge::start("none").await;
    assert_eq!(told(&edge.status(&descriptor("path", "/files/a")).await), (Said::Ok, 999));
    assert_eq!(told(&edge.status(&descriptor("path", "/files/b")).await), (Said::Ok, 998));
    edge.status(&descriptor("path", "/")).await;
    let mut client = client(&edge.service).await;
    assert_eq!(ask(&mut client, &check("edge", &[("path", "/")])).await.statuses[0].remaining, 1);
}

#[tokio::test]
async fn responses_get_headers_on_request() {
    let mut edge = Edge::start("draft").await;
    let headers = |answer: RateLimitResponse| -> Vec<(String, u64)> {
        let headers = answer.response_headers_to_add.into_iter();
        headers.map(|header| (header.key, header.value.parse().unwrap())).collect()
    };
    let blocked = descriptor("path", "/blocked");
    let told = headers(edge.ask(&[descriptor("path", "/"), blocked]).await);
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"]);
    assert_eq!((told[0].1, told[1].1), (0, 0));
    assert!((3590..=3600).contains(&told[3].1), "{told:?}");
    let allowed = headers(edge.ask(&[descriptor("path", "/")]).await);
    assert_eq!((allowed.len(), allowed[0].1, allowed[1].1), (3, 3, 2));
    assert!(headers(edge.ask(&[descriptor("path", "/free")]).await).is_empty());
}

#[tokio::test]
async fn what_is_malformed_or_not_honoured_is_named() {
    let mut edge = Edge::start("none").await;
    let nothing = RateLimitRequest::default();
    let status = edge.envoy.should_rate_limit(nothing).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["domain", "descriptors"]);
    let mut wrong = descriptor("", "x");
    wrong.limit = Some(RateLimitOverride { requests_per_unit: 1, ..RateLimitOverride::default() });
    let status = edge.envoy.should_rate_limit(request(&[descriptor("a", "b"), wrong])).await.unwrap_err();
    assert_eq!(violated_fields(&status), ["descriptors[1].entries[0].key", "descriptors[1].limit.unit"]);
    let negative = RateLimitDescriptor { is_negative_hits: true, ..descriptor("path", "/") };
    let status = edge.envoy.should_rate_limit(request(&[negative])).await.unwrap_err();
    assert_eq!(
        (status.code(), violated_fields(&status)),
        (Code::Unimplemented, vec!["descriptors[0].is_negative_hits".to_owned()])
    );
}

#[tokio::test]
async fn a_backend_that_fails_is_unavailable_and_never_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start(RedisPolicy::Counters).await.unwrap();
    let rules = rules_file(folder.path(), RULES);
    let service = builder(redis.url(), "rl").env("RATELIMIT_RULES", rules).start().await.unwrap();
    redis.kill();
    let mut envoy = Envoy::new(channel(&service).await);
    let status = envoy.should_rate_limit(request(&[descriptor("closed", "x")])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    let local = envoy.should_rate_limit(request(&[descriptor("path", "/")])).await.unwrap().into_inner();
    assert_eq!(told(&local.statuses[0]), (Said::Ok, 2));
}
