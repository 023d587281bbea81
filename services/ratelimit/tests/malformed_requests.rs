//! Requests that are wrong, each with the error that says so.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use prost::Message;
use rpc::{
    envoy::{
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor as envoy},
        service::ratelimit::v3::RateLimitRequest,
        r#type::v3::RateLimitUnit,
    },
    ratelimit::v1::{
        CheckRequest, Descriptor, ListTopDeniedRequest, RefundRequest, ResetRequest, descriptor::Entry,
    },
};
use stack::Service;
use support::service::{ask, channel, check, client, rules_file, shared};
use tonic::{Code, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_types::StatusExt as _;

const RULES: &str = "
domain: shop
descriptors:
  - {key: caller, limits: [{name: calls, limit: 5, period: 1h}]}
  - {key: slots, limits: [{name: slots, algorithm: concurrency, limit: 2, period: 1h}]}
  - {key: drop, limits: [{name: drops, algorithm: leaky_bucket, limit: 9, period: 1h}]}
  - {key: bucket, limits: [{name: tokens, algorithm: token_bucket, limit: 9, period: 1h, burst: 3}]}
";

const CHECK: &str = "/ratelimit.v1.RateLimitService/Check";
const REFUND: &str = "/ratelimit.v1.RateLimitService/Refund";
const RESET: &str = "/ratelimit.v1.RateLimitService/Reset";
const TOP: &str = "/ratelimit.v1.RateLimitService/ListTopDenied";
const ENVOY: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// A call, and what it is refused with.
struct Case {
    name: &'static str,
    method: &'static str,
    message: Vec<u8>,
    code: Code,
    fields: Vec<&'static str>,
}

fn wrong(name: &'static str, method: &'static str, message: &impl Message, fields: &[&'static str]) -> Case {
    let message = message.encode_to_vec();
    Case { name, method, message, code: Code::InvalidArgument, fields: fields.to_vec() }
}

fn coded(code: Code, case: Case) -> Case {
    Case { code, ..case }
}

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn entry(key: impl Into<String>, value: impl Into<String>) -> Entry {
    Entry { key: key.into(), value: value.into() }
}

fn of(entries: Vec<Entry>) -> Descriptor {
    Descriptor { entries, cost: 0 }
}

fn costing(key: &str, cost: u64) -> Descriptor {
    Descriptor { cost, ..of(vec![entry(key, "x")]) }
}

fn good() -> Descriptor {
    of(vec![entry("caller", "ann")])
}

fn check_of(descriptors: Vec<Descriptor>) -> CheckRequest {
    CheckRequest { domain: "shop".into(), descriptors, ..CheckRequest::default() }
}

fn checks() -> Vec<Case> {
    let domain = |domain: String| CheckRequest { domain, ..check_of(vec![good()]) };
    let id = |request_id: String| CheckRequest { request_id, ..check_of(vec![good()]) };
    vec![
        wrong("nothing at all", CHECK, &CheckRequest::default(), &["domain", "descriptors"]),
        wrong("no domain", CHECK, &domain(String::new()), &["domain"]),
        wrong("a domain of 257 bytes", CHECK, &domain(long(257)), &["domain"]),
        wrong("no descriptors", CHECK, &check_of(vec![]), &["descriptors"]),
        wrong("17 descriptors", CHECK, &check_of(vec![good(); 17]), &["descriptors"]),
        wrong("no entries", CHECK, &check_of(vec![of(vec![])]), &["descriptors[0].entries"]),
        wrong(
            "17 entries",
            CHECK,
            &check_of(vec![of(vec![entry("k", "v"); 17])]),
            &["descriptors[0].entries"],
        ),
        wrong("no key", CHECK, &check_of(vec![of(vec![entry("", "v")])]), &["descriptors[0].entries[0].key"]),
        wrong(
            "a key of 257 bytes",
            CHECK,
            &check_of(vec![of(vec![entry(long(257), "v")])]),
            &["descriptors[0].entries[0].key"],
        ),
        wrong(
            "a value of 1025 bytes",
            CHECK,
            &check_of(vec![of(vec![entry("k", long(1025))])]),
            &["descriptors[0].entries[0].value"],
        ),
        wrong(
            "the third is wrong",
            CHECK,
            &check_of(vec![good(), good(), of(vec![])]),
            &["descriptors[2].entries"],
        ),
        wrong(
            "several are wrong",
            CHECK,
            &check_of(vec![of(vec![]), of(vec![entry("", long(2000))])]),
            &["descriptors[0].entries", "descriptors[1].entries[0].key", "descriptors[1].entries[0].value"],
        ),
        wrong(
            "the last of 16 entries",
            CHECK,
            &check_of(vec![of([vec![entry("k", "v"); 15], vec![entry("", "")]].concat())]),
            &["descriptors[0].entries[15].key"],
        ),
        wrong("an id of 129 bytes", CHECK, &id(long(129)), &["request_id"]),
        wrong("a line feed in the id", CHECK, &id("a\nb".into()), &["request_id"]),
        wrong("a NUL in the id", CHECK, &id("\0".into()), &["request_id"]),
        wrong(
            "an id and no domain",
            CHECK,
            &CheckRequest { domain: String::new(), ..id(long(129)) },
            &["domain", "request_id"],
        ),
    ]
}

fn costs() -> Vec<Case> {
    vec![
        wrong(
            "a cost above the limit",
            CHECK,
            &check_of(vec![costing("caller", 6)]),
            &["descriptors[0].cost"],
        ),
        wrong(
            "the largest cost",
            CHECK,
            &check_of(vec![costing("caller", u64::MAX)]),
            &["descriptors[0].cost"],
        ),
        wrong(
            "a cost above the slots",
            CHECK,
            &check_of(vec![costing("slots", 3)]),
            &["descriptors[0].cost"],
        ),
        wrong("two drops at once", CHECK, &check_of(vec![costing("drop", 2)]), &["descriptors[0].cost"]),
        wrong(
            "a cost above the burst",
            CHECK,
            &check_of(vec![costing("bucket", 4)]),
            &["descriptors[0].cost"],
        ),
        wrong(
            "the sum is too much",
            CHECK,
            &check_of(vec![costing("caller", 3), costing("caller", 3)]),
            &["descriptors[1].cost"],
        ),
        wrong(
            "a sum beyond 2^64",
            CHECK,
            &check_of(vec![costing("caller", u64::MAX), costing("caller", u64::MAX)]),
            &["descriptors[1].cost"],
        ),
        wrong(
            "the second costs too much",
            CHECK,
            &check_of(vec![good(), costing("bucket", 9)]),
            &["descriptors[1].cost"],
        ),
        wrong(
            "a peek of too much",
            CHECK,
            &CheckRequest { peek: true, ..check_of(vec![costing("caller", 6)]) },
            &["descriptors[0].cost"],
        ),
        wrong(
            "too much with an id",
            CHECK,
            &CheckRequest { request_id: "id".into(), ..check_of(vec![costing("caller", 6)]) },
            &["descriptors[0].cost"],
        ),
    ]
}

fn others() -> Vec<Case> {
    let refund = |domain: &str, id: String| RefundRequest { domain: domain.into(), request_id: id };
    let reset = |domain: &str, descriptors| ResetRequest { domain: domain.into(), descriptors };
    let top = |domain: &str, limit| ListTopDeniedRequest { domain: domain.into(), limit };
    vec![
        wrong("refund nothing", REFUND, &RefundRequest::default(), &["domain", "request_id"]),
        wrong("refund without a domain", REFUND, &refund("", "id".into()), &["domain"]),
        wrong("refund without an id", REFUND, &refund("shop", String::new()), &["request_id"]),
        wrong("refund an id of 129 bytes", REFUND, &refund("shop", long(129)), &["request_id"]),
        wrong("refund a tab", REFUND, &refund("shop", "\t".into()), &["request_id"]),
        wrong("refund in a domain of 257 bytes", REFUND, &refund(&long(257), "id".into()), &["domain"]),
        wrong("reset nothing", RESET, &ResetRequest::default(), &["domain", "descriptors"]),
        wrong("reset without a domain", RESET, &reset("", vec![good()]), &["domain"]),
        wrong("reset without descriptors", RESET, &reset("shop", vec![]), &["descriptors"]),
        wrong("reset 17 descriptors", RESET, &reset("shop", vec![good(); 17]), &["descriptors"]),
        wrong("reset no entries", RESET, &reset("shop", vec![of(vec![])]), &["descriptors[0].entries"]),
        wrong(
            "reset without a key",
            RESET,
            &reset("shop", vec![of(vec![entry("", "")])]),
            &["descriptors[0].entries[0].key"],
        ),
        wrong(
            "reset a long value",
            RESET,
            &reset("shop", vec![of(vec![entry("k", long(1025))])]),
            &["descriptors[0].entries[0].value"],
        ),
        wrong("top without a domain", TOP, &top("", 1), &["domain"]),
        wrong("top -1", TOP, &top("shop", -1), &["limit"]),
        wrong("top 101", TOP, &top("shop", 101), &["limit"]),
        wrong("the lowest top of nowhere", TOP, &top("", i32::MIN), &["domain", "limit"]),
    ]
}

fn envoys() -> Vec<Case> {
    let entry = |key: &str, value: String| envoy::Entry { key: key.into(), value };
    let of = |entries| RateLimitDescriptor { entries, ..RateLimitDescriptor::default() };
    let good = || of(vec![entry("caller", "ann".into())]);
    let ask = |descriptors| RateLimitRequest { domain: "shop".into(), descriptors, hits_addend: 0 };
    let brought = |unit: i32, multiplier| RateLimitDescriptor {
        limit: Some(envoy::RateLimitOverride { requests_per_unit: 1, unit, unit_multiplier: multiplier }),
        ..good()
    };
    let year = RateLimitUnit::Year.into();
    vec![
        wrong("envoy asks nothing", ENVOY, &RateLimitRequest::default(), &["domain", "descriptors"]),
        wrong(
            "envoy without a domain",
            ENVOY,
            &RateLimitRequest { domain: String::new(), ..ask(vec![good()]) },
            &["domain"],
        ),
        wrong("envoy without descriptors", ENVOY, &ask(vec![]), &["descriptors"]),
        wrong("envoy with 17", ENVOY, &ask(vec![good(); 17]), &["descriptors"]),
        wrong("envoy without entries", ENVOY, &ask(vec![of(vec![])]), &["descriptors[0].entries"]),
        wrong(
            "envoy with 17 entries",
            ENVOY,
            &ask(vec![of(vec![entry("k", "v".into()); 17])]),
            &["descriptors[0].entries"],
        ),
        wrong(
            "envoy without a key",
            ENVOY,
            &ask(vec![good(), of(vec![entry("", "v".into())])]),
            &["descriptors[1].entries[0].key"],
        ),
        wrong("a limit without a unit", ENVOY, &ask(vec![brought(0, None)]), &["descriptors[0].limit.unit"]),
        wrong(
            "a limit of an unknown unit",
            ENVOY,
            &ask(vec![brought(99, None)]),
            &["descriptors[0].limit.unit"],
        ),
        wrong(
            "a limit for two years",
            ENVOY,
            &ask(vec![good(), brought(year, Some(2))]),
            &["descriptors[1].limit.unit_multiplier"],
        ),
        wrong(
            "a limit for all times",
            ENVOY,
            &ask(vec![brought(year, Some(u32::MAX))]),
            &["descriptors[0].limit.unit_multiplier"],
        ),
        coded(
            Code::Unimplemented,
            wrong(
                "negative hits",
                ENVOY,
                &ask(vec![RateLimitDescriptor { is_negative_hits: true, ..good() }]),
                &["descriptors[0].is_negative_hits"],
            ),
        ),
    ]
}

/// What is no message of the method, or of any.
fn raw() -> Vec<Case> {
    let raw = |name, method, message: Vec<u8>, code| Case { name, method, message, code, fields: vec![] };
    vec![
        raw("no protobuf", CHECK, vec![0xff; 32], Code::Internal),
        raw("a message that breaks off", CHECK, vec![0x0a, 0x7f, b'x'], Code::Internal),
        raw("a domain that is no UTF-8", CHECK, vec![0x0a, 0x02, 0xc3, 0x28], Code::Internal),
        raw("envoy sends no protobuf", ENVOY, vec![0xff; 32], Code::Internal),
        raw(
            "a message of 513 KiB",
            CHECK,
            check_of(vec![of(vec![entry("k", long(513 * 1024))])]).encode_to_vec(),
            Code::OutOfRange,
        ),
        raw("envoy sends 513 KiB", ENVOY, vec![0x0a; 513 * 1024], Code::OutOfRange),
        raw("an unknown method", "/ratelimit.v1.RateLimitService/Chek", vec![], Code::Unimplemented),
        raw("an unknown service", "/ratelimit.v2.RateLimitService/Check", vec![], Code::Unimplemented),
    ]
}

/// Sends bytes as they are.
async fn send(channel: &Channel, method: &str, message: &[u8]) -> Result<Vec<u8>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(method).unwrap();
    let request = tonic::Request::new(message.to_vec());
    Ok(grpc.unary(request, path, support::bytes_codec::Bytes).await?.into_inner())
}

async fn left(service: &Service) -> Vec<u64> {
    let mut client = client(service).await;
    let mut left = Vec::new();
    for key in ["caller", "slots", "drop", "bucket"] {
        let look = CheckRequest { peek: true, ..check("shop", &[(key, "x")]) };
        left.push(ask(&mut client, &look).await.statuses[0].remaining);
    }
    left
}

#[tokio::test]
async fn each_is_refused_with_what_would_be_right_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules_file(folder.path(), RULES);
    let service = shared(&stack::unique("malformed")).env("RATELIMIT_RULES", rules).start().await.unwrap();
    let (channel, untouched) = (channel(&service).await, left(&service).await);
    let cases: Vec<_> = [checks(), costs(), others(), envoys(), raw()].into_iter().flatten().collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    for Case { name, method, message, code, fields } in cases {
        let status = send(&channel, method, &message).await.expect_err(name);
        assert_eq!(status.code(), code, "{name}: {status:?}");
        assert!(!status.message().is_empty(), "{name}");
        assert_eq!(status.get_details_error_info().unwrap().domain, "ratelimit", "{name}");
        let violations = status.get_details_bad_request().map(|it| it.field_violations).unwrap_or_default();
        let violated: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(violated, fields, "{name}: {status:?}");
        assert!(violations.iter().all(|violation| !violation.description.is_empty()), "{name}");
    }
    assert_eq!(left(&service).await, untouched);
}
