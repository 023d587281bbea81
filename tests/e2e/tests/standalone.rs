//! The whole system in one process, with nothing but a folder.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use e2e::{ADMIN_KEY, Client, NewKey, PATIENCE, until_views};
use rpc::ratelimit::v1::{
    CheckRequest, Descriptor, ListRulesRequest, ListTopDeniedRequest, RefundRequest, ResetRequest,
    descriptor::Entry,
};
use rpc::snippets::v1::{GetCallerRequest, Snippet, Tier, Visibility};
use stack::{Service, ServiceBuilder, binary};
use tonic::Code;

fn standalone(data_dir: &Path) -> ServiceBuilder {
    Service::builder("standalone", binary("standalone").unwrap())
        .env("DATA_DIR", data_dir.to_string_lossy())
        .env("BOOTSTRAP_ADMIN_KEY", ADMIN_KEY)
}

fn private() -> Snippet {
    let visibility = Visibility::Private.into();
    Snippet {
        body: "mine".into(),
        title: "t".into(),
        tags: vec!["x".into()],
        visibility,
        ..Snippet::default()
    }
}

#[tokio::test]
async fn everything_survives_a_restart_and_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    // A folder that is not there yet is made.
    let server = standalone(&dir.path().join("a/b")).start().await.unwrap();
    let anonymous = Client::to(&server).await.unwrap();
    let NewKey { secret, account, .. } = anonymous.new_key(Tier::Premium).await.unwrap();
    let mine = anonymous.with_key(&secret).create(private()).await.unwrap();
    let shared = anonymous.create(Snippet { body: "x".into(), ..Snippet::default() }).await.unwrap().id;

    // Stopped in order it loses nothing, not even what was counted a moment before.
    for _ in 0..30 {
        anonymous.get(&shared).await.unwrap();
    }
    assert!(server.terminate(PATIENCE).await.unwrap().success(), "{}", server.log());
    server.restart().await.unwrap();
    let anonymous = Client::to(&server).await.unwrap();
    assert_eq!(until_views(&anonymous, &shared, 30).await.unwrap(), 30);

    // Killed it loses nothing that was acknowledged or shown.
    anonymous.get(&shared).await.unwrap();
    assert_eq!(until_views(&anonymous, &shared, 31).await.unwrap(), 31);
    let last = anonymous.create(Snippet { body: "last words".into(), ..Snippet::default() }).await.unwrap();
    server.kill();
    server.restart().await.unwrap();
    let anonymous = Client::to(&server).await.unwrap();
    assert_eq!(anonymous.get(&last.id).await.unwrap(), last);
    assert_eq!(until_views(&anonymous, &shared, 31).await.unwrap(), 31);

    let owner = anonymous.with_key(&secret);
    assert_eq!(owner.get(&mine.id).await.unwrap(), mine);
    assert_eq!(anonymous.get(&mine.id).await.unwrap_err().code(), Code::NotFound);
    let caller = owner.accounts().get_caller(GetCallerRequest {}).await.unwrap().into_inner();
    assert_eq!(caller.account, Some(account));
}

#[tokio::test]
async fn it_serves_every_service_on_one_port_and_limits_writes() {
    let dir = tempfile::tempdir().unwrap();
    let server = standalone(dir.path()).start().await.unwrap();
    let anonymous = Client::to(&server).await.unwrap();
    let rules = anonymous.limiter().list_rules(ListRulesRequest::default()).await.unwrap().into_inner();
    assert!(!rules.rules.is_empty() && !rules.version.is_empty());
    let caller = anonymous.as_new(Tier::Free).await.unwrap();
    let small = Snippet { body: "x".into(), ..Snippet::default() };
    for _ in 0..60 {
        caller.create(small.clone()).await.unwrap();
    }
    let status = caller.create(small).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    e2e::assert_explained(&status);
}

#[tokio::test]
async fn only_admins_change_what_others_were_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = standalone(dir.path()).start().await.unwrap();
    let anonymous = Client::to(&server).await.unwrap();
    let account = anonymous.as_new(Tier::Premium).await.unwrap();
    let admins = [anonymous.as_admin(), anonymous.as_new(Tier::Admin).await.unwrap()];
    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    let entries = vec![entry("tier", "free"), entry("caller", "somebody")];
    let descriptors = vec![Descriptor { entries, cost: 60 }];
    let domain = || "snippets".to_owned();
    let check = CheckRequest {
        domain: domain(),
        descriptors: descriptors.clone(),
        request_id: "once".into(),
        peek: false,
    };
    let reset = ResetRequest { domain: domain(), descriptors };
    let refund = RefundRequest { domain: domain(), request_id: "once".into() };
    let denied = ListTopDeniedRequest { domain: domain(), limit: 0 };
    // Anybody may look, and try.
    let allowed = async || {
        let mut limiter = anonymous.limiter();
        limiter.check(CheckRequest { request_id: String::new(), peek: true, ..check.clone() }).await.unwrap()
    };
    assert!(anonymous.limiter().check(check.clone()).await.unwrap().into_inner().allowed);
    for (client, code) in [
        (&anonymous, Code::Unauthenticated),
        (&anonymous.with_key("nobody's"), Code::Unauthenticated),
        (&account, Code::PermissionDenied),
    ] {
        let mut limiter = client.limiter();
        let refused = [
            limiter.reset(reset.clone()).await.map(drop).unwrap_err(),
            limiter.refund(refund.clone()).await.map(drop).unwrap_err(),
            limiter.list_top_denied(denied.clone()).await.map(drop).unwrap_err(),
        ];
        for status in refused {
            assert_eq!(status.code(), code);
            e2e::assert_explained(&status);
        }
    }
    assert!(!allowed().await.into_inner().allowed);
    assert!(admins[0].limiter().refund(refund).await.unwrap().into_inner().refunded);
    assert!(allowed().await.into_inner().allowed);
    admins[1].limiter().reset(reset).await.unwrap();
    admins[1].limiter().list_top_denied(denied).await.unwrap();
}

#[tokio::test]
async fn a_folder_is_used_by_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = standalone(dir.path()).start().await.unwrap();
    let refused = format!("{:#}", standalone(dir.path()).start().await.map(drop).unwrap_err());
    let folder = dir.path().display().to_string();
    assert!(refused.contains("DATA_DIR") && refused.contains(&folder), "{refused}");
    assert!(refused.contains("in use by another process"), "{refused}");
    Client::to(&first)
        .await
        .unwrap()
        .create(Snippet { body: "x".into(), ..Snippet::default() })
        .await
        .unwrap();
    // Whoever had it and was killed does not have it any more.
    first.kill();
    standalone(dir.path()).start().await.unwrap();
}

#[tokio::test]
async fn it_prints_a_line_to_paste_with_the_real_port() {
    let dir = tempfile::tempdir().unwrap();
    let server = standalone(dir.path()).arg("--listen-addr").arg("127.0.0.1:0").start().await.unwrap();
    let log = server.log();
    let line = log.lines().find(|line| line.starts_with("grpcurl ")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.ends_with("snippets.v1.SnippetService/CreateSnippet"), "{line}");
    let addr = line.split(' ').find_map(|word| word.parse::<std::net::SocketAddr>().ok()).unwrap();
    assert_ne!(addr.port(), 0);
    let client = Client::to_addr(addr).await.unwrap();
    client.create(Snippet { body: "Hello, world".into(), ..Snippet::default() }).await.unwrap();
    assert!(server.terminate(Duration::from_secs(15)).await.unwrap().success());
}

#[tokio::test]
async fn reads_come_from_memory_and_show_every_edit() {
    let dir = tempfile::tempdir().unwrap();
    let server = standalone(dir.path()).start().await.unwrap();
    let reader = Client::to(&server).await.unwrap();
    let owner = reader.as_new(Tier::Free).await.unwrap();
    let visibility = Visibility::Public.into();
    let mut snippet = Snippet { body: "first".into(), visibility, ..Snippet::default() };
    snippet = owner.create(snippet).await.unwrap();
    for body in ["first", "second", "third"] {
        snippet = owner.update(Snippet { body: body.into(), ..snippet }).await.unwrap();
        // The first read fills the cache.
        reader.get(&snippet.id).await.unwrap();
        let hits =
            async || server.metric("snippets_near_cache_requests_total{outcome=\"hit\"}").await.unwrap();
        let before = hits().await;
        assert_eq!(reader.get(&snippet.id).await.unwrap().body, body);
        assert!(hits().await > before, "the database was asked for {body}");
    }
}
