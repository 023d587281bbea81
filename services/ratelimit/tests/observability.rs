//! What operators see: metrics whose number is bounded, and the log of denials.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use rpc::ratelimit::v1::{CheckRequest, ListTopDeniedRequest};
use support::service::{Client, ask, builder, check, client, count, rules_file, shared};
use tokio::task::JoinSet;

const RULES: &str = "
domain: shop
descriptors:
  - {key: caller, detailed_metric: true, limits: [{name: calls, limit: 1, period: 1h}]}
  - {key: burst, limits: [{name: bursts, limit: 3, period: 1h}]}
";

const CALLERS: usize = 100_000;
/// Callers that are asked about in one Check.
const AT_ONCE: usize = 10;
/// Time series of the whole service at most: two for each name that values may make, and those of all else.
const SERIES_MAX: usize = 3_000;

/// Asks about every caller, and once about a domain that nobody knows for each Check.
async fn ask_about_all(client: &Client, allowed: bool) {
    let mut askers = JoinSet::new();
    for asker in 0..64 {
        let mut client = client.clone();
        askers.spawn(async move {
            for first in (asker * AT_ONCE..CALLERS).step_by(64 * AT_ONCE) {
                let about = |caller| check("shop", &[("caller", &format!("caller-{caller}"))]).descriptors;
                let descriptors = (first..first + AT_ONCE).flat_map(about).collect();
                let request = CheckRequest { domain: "shop".into(), descriptors, ..CheckRequest::default() };
                assert_eq!(ask(&mut client, &request).await.allowed, allowed);
                let unknown = CheckRequest { domain: format!("domain-{first}"), ..request };
                assert!(ask(&mut client, &unknown).await.allowed);
            }
        });
    }
    askers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_callers_make_a_bounded_number_of_series() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules_file(folder.path(), RULES);
    let service = shared(&stack::unique("series")).env("RATELIMIT_RULES", rules).start().await.unwrap();
    let mut client = client(&service).await;
    ask_about_all(&client, true).await;
    ask_about_all(&client, false).await;
    let series = service.metrics().await.unwrap().lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= SERIES_MAX, "{series}");
    for outcome in ["allowed", "denied"] {
        let decided = |rule| format!("ratelimit_decisions_total{{rule=\"{rule}\",outcome=\"{outcome}\"}}");
        assert_eq!(count(&service, &decided("calls")).await, CALLERS as u64);
        let named = format!("ratelimit_detailed_decisions_total{{outcome=\"{outcome}\"}}");
        assert_eq!(count(&service, &named).await, CALLERS as u64);
    }
    let other = count(&service, r#"ratelimit_detailed_decisions_total{descriptor="other"}"#).await;
    assert!(other > CALLERS as u64, "{other}");
    let top = ListTopDeniedRequest { domain: "shop".into(), limit: 100 };
    assert_eq!(client.list_top_denied(top).await.unwrap().into_inner().entries.len(), 100);
}

#[tokio::test]
async fn a_sample_of_the_denials_is_logged_with_their_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules_file(folder.path(), RULES);
    let service = shared(&stack::unique("log"))
        .env("RATELIMIT_RULES", rules)
        .env("DENIAL_LOG_PER_SECOND", "1")
        .start()
        .await
        .unwrap();
    let mut client = client(&service).await;
    let burst = check("shop", &[("burst", "line\nfeed")]);
    for _ in 0..3 {
        assert!(ask(&mut client, &burst).await.allowed);
    }
    assert!(!service.log().contains("request denied"));
    for _ in 0..500 {
        assert!(!ask(&mut client, &burst).await.allowed);
    }
    ask(&mut client, &CheckRequest { peek: true, ..burst.clone() }).await;
    let logged = async || service.log().contains("request denied");
    stack::until("it is logged", support::PATIENCE, logged).await.unwrap();
    let log = service.log();
    let denials: Vec<_> = log.lines().filter(|line| line.contains("request denied")).collect();
    assert!(denials.len() < 100, "{}", denials.len());
    let first = denials[0];
    assert!(first.contains("shop") && first.contains("bursts") && first.contains(r"burst=line\"), "{first}");
}

#[tokio::test]
async fn denials_are_not_logged_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules_file(folder.path(), RULES);
    let prefix = stack::unique("nolog");
    let url = stack::shared().counters_redis_url();
    let service =
        builder(url, &prefix).env("REDIS_TIMEOUT", "5s").env("RATELIMIT_RULES", rules).start().await.unwrap();
    let mut client = client(&service).await;
    for _ in 0..10 {
        ask(&mut client, &check("shop", &[("burst", "x")])).await;
    }
    assert_eq!(count(&service, r#"ratelimit_decisions_total{outcome="denied"}"#).await, 7);
    assert!(!service.log().contains("request denied"));
}
