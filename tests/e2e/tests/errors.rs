//! Every error says what is wrong, in the words of the contract, and nothing of what is inside.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use e2e::{Client, assert_explained, violated_fields};
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use prost_types::{FieldMask, Timestamp};
use rpc::ratelimit::v1::{CheckRequest, Descriptor, descriptor::Entry};
use rpc::snippets::v1::snippet_service_client::SnippetServiceClient;
use rpc::snippets::v1::{
    Account, CreateAccountRequest, CreateApiKeyRequest, CreateSnippetRequest, DeleteSnippetRequest,
    GetAccountRequest, GetSnippetRequest, GetViewStatsRequest, Granularity, RevokeApiKeyRequest, Snippet,
    Tier, UpdateSnippetRequest, Visibility,
};
use stack::{Backends, Product, Proxy, Service};
use tokio::sync::OnceCell;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

async fn product() -> &'static Product {
    static PRODUCT: OnceCell<Product> = OnceCell::const_new();
    let start = async || e2e::product(&e2e::backends().await).replicas(1).workers(0).start().await.unwrap();
    PRODUCT.get_or_init(start).await
}

async fn snippets() -> Client {
    Client::to(&product().await.snippets[0]).await.unwrap()
}

/// A request that is wrong.
enum Bad {
    Create(Option<Snippet>),
    Get(GetSnippetRequest),
    Update(Option<Snippet>, &'static [&'static str]),
    Delete(&'static str),
    ViewStats(GetViewStatsRequest),
    CreateAccount(Option<Account>),
    GetAccount(&'static str),
    CreateApiKey(CreateApiKeyRequest),
    RevokeApiKey(&'static str),
    Check(CheckRequest),
}

/// Who sends them: writers that are not limited too soon.
struct Senders {
    anonymous: Client,
    owner: Client,
    admin: Client,
    limiter: Client,
}

impl Senders {
    async fn new() -> Self {
        let anonymous = snippets().await;
        let owner = anonymous.as_new(Tier::Premium).await.unwrap();
        let limiter = Client::to(&product().await.ratelimit).await.unwrap();
        Self { admin: anonymous.as_admin(), owner, anonymous, limiter }
    }

    async fn send(&self, bad: Bad) -> Result<(), Status> {
        let (mut snippets, mut accounts) = (self.owner.snippets(), self.admin.accounts());
        match bad {
            Bad::Create(snippet) => {
                let request = CreateSnippetRequest { snippet, ..CreateSnippetRequest::default() };
                snippets.create_snippet(request).await.map(drop)
            }
            Bad::Get(request) => self.anonymous.snippets().get_snippet(request).await.map(drop),
            Bad::Update(snippet, mask) => {
                let paths: Vec<_> = mask.iter().map(|path| (*path).to_owned()).collect();
                let update_mask = (!paths.is_empty()).then_some(FieldMask { paths });
                snippets.update_snippet(UpdateSnippetRequest { snippet, update_mask }).await.map(drop)
            }
            Bad::Delete(id) => {
                let request = DeleteSnippetRequest { id: id.into(), ..DeleteSnippetRequest::default() };
                snippets.delete_snippet(request).await.map(drop)
            }
            Bad::ViewStats(request) => self.owner.view_stats(request).await.map(drop),
            Bad::CreateAccount(account) => {
                accounts.create_account(CreateAccountRequest { account }).await.map(drop)
            }
            Bad::GetAccount(id) => accounts.get_account(GetAccountRequest { id: id.into() }).await.map(drop),
            Bad::CreateApiKey(request) => accounts.create_api_key(request).await.map(drop),
            Bad::RevokeApiKey(id) => {
                accounts.revoke_api_key(RevokeApiKeyRequest { id: id.into() }).await.map(drop)
            }
            Bad::Check(request) => self.limiter.limiter().check(request).await.map(drop),
        }
    }
}

/// A snippet that is fine but for what `spoil` does to it.
fn create(spoil: impl FnOnce(&mut Snippet)) -> Bad {
    let mut snippet = Snippet { body: "fine".into(), ..Snippet::default() };
    spoil(&mut snippet);
    Bad::Create(Some(snippet))
}

fn get(id: &str, view: i32) -> Bad {
    Bad::Get(GetSnippetRequest { id: id.into(), view, ..GetSnippetRequest::default() })
}

/// An edit that names a snippet and sets a title.
fn update(mask: &'static [&'static str]) -> Bad {
    let snippet = Snippet { id: "0123456789a".into(), title: "fine".into(), ..Snippet::default() };
    Bad::Update(Some(snippet), mask)
}

fn account(display_name: &str, tier: i32) -> Bad {
    let display_name = display_name.into();
    Bad::CreateAccount(Some(Account { display_name, tier, ..Account::default() }))
}

fn api_key(account_id: &str, display_name: &str, seconds: Option<i64>) -> Bad {
    let expire_time = seconds.map(|seconds| Timestamp { seconds, nanos: 0 });
    let (account_id, display_name) = (account_id.into(), display_name.into());
    Bad::CreateApiKey(CreateApiKeyRequest { account_id, display_name, expire_time })
}

fn check(domain: &str, descriptors: Vec<Descriptor>) -> Bad {
    Bad::Check(CheckRequest { domain: domain.into(), descriptors, ..CheckRequest::default() })
}

fn descriptor(entries: &[(&str, &str)], cost: u64) -> Descriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    Descriptor { entries: entries.iter().map(entry).collect(), cost }
}

fn bad_snippets() -> Vec<(Bad, &'static [&'static str])> {
    let long = "x".repeat(201);
    vec![
        (Bad::Create(None), &["snippet"]),
        (Bad::Create(Some(Snippet::default())), &["snippet.body"]),
        (create(|it| it.body = "nul\0".into()), &["snippet.body"]),
        (create(|it| it.body = "x".repeat(1024 * 1024 + 1)), &["snippet.body"]),
        (create(|it| it.title.clone_from(&long)), &["snippet.title"]),
        (create(|it| it.title = "ü".repeat(201)), &["snippet.title"]),
        (create(|it| it.title = "\0".into()), &["snippet.title"]),
        (create(|it| it.language = "x".repeat(41)), &["snippet.language"]),
        (create(|it| it.language = "c\0".into()), &["snippet.language"]),
        (create(|it| it.tags = vec!["x".into(); 11]), &["snippet.tags"]),
        (create(|it| it.tags = vec![String::new()]), &["snippet.tags[0]"]),
        (create(|it| it.tags = ["a", "b", "c", &long].map(Into::into).into()), &["snippet.tags[3]"]),
        (
            create(|it| it.tags = ["", "fine", "\0"].map(Into::into).into()),
            &["snippet.tags[0]", "snippet.tags[2]"],
        ),
        (create(|it| it.visibility = 99), &["snippet.visibility"]),
        (create(|it| it.visibility = -1), &["snippet.visibility"]),
        (
            create(|it| {
                it.title.clone_from(&long);
                it.language.clone_from(&long);
                it.body.clear();
                it.tags = vec!["fine".into(), String::new()];
                it.visibility = 99;
            }),
            &["snippet.title", "snippet.language", "snippet.body", "snippet.tags[1]", "snippet.visibility"],
        ),
        (get("", 0), &["id"]),
        (get("tooshort", 0), &["id"]),
        (get("much-too-long", 0), &["id"]),
        (get("0123456789!", 0), &["id"]),
        (get("0123456789é", 0), &["id"]),
        (get("0123456789\0", 0), &["id"]),
        (get("0123456789a", 99), &["view"]),
        (get("no id", 99), &["id", "view"]),
        (Bad::Delete(""), &["id"]),
        (Bad::Delete("'; drop table snippets; --"), &["id"]),
    ]
}

fn bad_edits() -> Vec<(Bad, &'static [&'static str])> {
    let named = |id: &str| Some(Snippet { id: id.into(), ..Snippet::default() });
    vec![
        (Bad::Update(None, &[]), &["snippet"]),
        (Bad::Update(named(""), &["title"]), &["snippet.id"]),
        (Bad::Update(named("no id"), &["title"]), &["snippet.id"]),
        (Bad::Update(named("no id"), &["nothing"]), &["snippet.id", "update_mask"]),
        (Bad::Update(named("0123456789a"), &[]), &["update_mask"]),
        (Bad::Update(named("0123456789a"), &["body"]), &["snippet.body"]),
        (Bad::Update(named("0123456789a"), &["*"]), &["snippet.body"]),
        (update(&["title", "nothing"]), &["update_mask"]),
        (update(&["*", "title"]), &["update_mask"]),
        (update(&["snippet.title"]), &["update_mask"]),
        (update(&[""]), &["update_mask"]),
        (update(&["id"]), &["update_mask"]),
        (update(&["owner"]), &["update_mask"]),
        (update(&["etag"]), &["update_mask"]),
        (update(&["create_time"]), &["update_mask"]),
        (update(&["update_time"]), &["update_mask"]),
        (update(&["view_count"]), &["update_mask"]),
    ]
}

/// Seconds and nanoseconds since 1970.
type Time = (i64, i32);

fn stats(id: &str, times: [Option<Time>; 2], granularity: Granularity) -> Bad {
    stats_by(id, times, granularity.into())
}

fn stats_by(id: &str, times: [Option<Time>; 2], granularity: i32) -> Bad {
    let [start_time, end_time] = times.map(|time| time.map(|(seconds, nanos)| Timestamp { seconds, nanos }));
    Bad::ViewStats(GetViewStatsRequest { id: id.into(), start_time, end_time, granularity })
}

fn bad_ranges() -> Vec<(Bad, &'static [&'static str])> {
    const ID: &str = "0123456789a";
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_10_000: i64 = 253_402_300_800;
    let at = |seconds| Some((seconds, 0));
    let (now, next_century) = (at(1_800_000_000), at(5_000_000_000));
    let (hour, day) = (Granularity::Hour, Granularity::Day);
    vec![
        (stats("", [None, None], hour), &["id"]),
        (stats("no id", [None, None], day), &["id"]),
        (stats_by(ID, [None, None], 99), &["granularity"]),
        (stats_by(ID, [None, None], -1), &["granularity"]),
        (stats(ID, [Some((0, -1)), now], hour), &["start_time"]),
        (stats(ID, [Some((0, 1_000_000_000)), now], hour), &["start_time"]),
        (stats(ID, [at(YEAR_1 - 1), at(YEAR_1 + 1)], hour), &["start_time"]),
        (stats(ID, [at(i64::MIN), now], hour), &["start_time"]),
        (stats(ID, [now, Some((1_900_000_000, i32::MAX))], hour), &["end_time"]),
        (stats(ID, [at(YEAR_10_000 - 1), at(YEAR_10_000)], day), &["end_time"]),
        (stats(ID, [now, at(i64::MAX)], day), &["end_time"]),
        (stats(ID, [None, at(YEAR_1)], day), &["end_time"]),
        (stats(ID, [now, now], hour), &["start_time"]),
        (stats(ID, [Some((1_800_000_000, 1)), now], day), &["start_time"]),
        (stats(ID, [next_century, None], hour), &["start_time"]),
        (stats(ID, [at(0), at(1000 * HOUR + 1)], hour), &["start_time"]),
        (stats(ID, [at(-1), at(1000 * HOUR)], hour), &["start_time"]),
        (stats(ID, [at(0), at(1000 * DAY + 1)], day), &["start_time"]),
        (stats(ID, [at(YEAR_1), at(YEAR_10_000 - 1)], day), &["start_time"]),
        (stats_by("no id", [now, now], 99), &["id", "granularity", "start_time"]),
        (stats_by("", [Some((0, -1)), at(i64::MAX)], 99), &["id", "start_time", "end_time", "granularity"]),
    ]
}

fn bad_accounts() -> Vec<(Bad, &'static [&'static str])> {
    let id = "0190b3a0-0000-7000-8000-000000000000";
    let long = "x".repeat(201);
    let next_year = Some(1_830_000_000);
    vec![
        (Bad::CreateAccount(None), &["account"]),
        (account("", 0), &["account.display_name"]),
        (account(&long, 0), &["account.display_name"]),
        (account("nul\0", 0), &["account.display_name"]),
        (account("fine", 99), &["account.tier"]),
        (account("", 99), &["account.display_name", "account.tier"]),
        (Bad::GetAccount(""), &["id"]),
        (Bad::GetAccount("no uuid"), &["id"]),
        (Bad::RevokeApiKey("no uuid"), &["id"]),
        (api_key("no uuid", "", next_year), &["account_id"]),
        (api_key(id, &long, next_year), &["display_name"]),
        (api_key(id, "", Some(1)), &["expire_time"]),
        (api_key(id, "", Some(i64::MAX)), &["expire_time"]),
        // The year 10,000.
        (api_key(id, "", Some(253_402_300_800)), &["expire_time"]),
        (api_key("", &long, Some(1)), &["account_id", "display_name", "expire_time"]),
    ]
}

fn bad_checks() -> Vec<(Bad, &'static [&'static str])> {
    let fine = descriptor(&[("tier", "free"), ("caller", "me")], 0);
    let long = "x".repeat(1025);
    vec![
        (check("", vec![fine.clone()]), &["domain"]),
        (check("snippets", vec![]), &["descriptors"]),
        (check("snippets", vec![fine.clone(); 17]), &["descriptors"]),
        (check("snippets", vec![fine.clone(), descriptor(&[], 0)]), &["descriptors[1].entries"]),
        (check("snippets", vec![descriptor(&[("", "x")], 0)]), &["descriptors[0].entries[0].key"]),
        (
            check("snippets", vec![descriptor(&[("a", "b"), ("tier", &long)], 0)]),
            &["descriptors[0].entries[1].value"],
        ),
        (
            check("snippets", vec![descriptor(&[("tier", "free"), ("caller", "me")], 61)]),
            &["descriptors[0].cost"],
        ),
        (check("", vec![]), &["domain", "descriptors"]),
    ]
}

#[tokio::test]
async fn bad_input_names_every_field_that_is_wrong() {
    let senders = Senders::new().await;
    let table = [bad_snippets(), bad_edits(), bad_ranges(), bad_accounts(), bad_checks()];
    let mut wrong = Vec::new();
    for (number, (bad, expected)) in table.into_iter().flatten().enumerate() {
        let status = senders.send(bad).await.expect_err(&format!("number {number}, {expected:?}, passed"));
        assert_explained(&status);
        assert!(status.message().len() < 1024, "{}", status.message());
        if status.code() != Code::InvalidArgument || violated_fields(&status) != expected {
            wrong.push(format!("number {number}: expected {expected:?}, not {status:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_anonymous_private_snippet_would_have_no_reader() {
    let body = "x".into();
    let private = Snippet { body, visibility: Visibility::Private.into(), ..Snippet::default() };
    let status = snippets().await.create(private).await.unwrap_err();
    assert_eq!(
        (status.code(), violated_fields(&status)),
        (Code::InvalidArgument, vec!["snippet.visibility".into()])
    );
    assert_explained(&status);
}

#[tokio::test]
async fn what_no_service_serves_is_explained_too() {
    let product = product().await;
    for server in [&product.snippets[0], &product.ratelimit] {
        let client = Client::to(server).await.unwrap();
        for path in [
            "/snippets.v1.SnippetService/MakeCoffee",
            "/ratelimit.v1.RateLimitService/MakeCoffee",
            "/grpc.health.v1.Health/MakeCoffee",
            "/coffee.v1.CoffeeService/Make",
            "/",
        ] {
            let status = client.call(path).await.unwrap_err();
            assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
            assert_explained(&status);
        }
    }
}

#[tokio::test]
async fn a_request_that_can_not_be_decoded_is_explained_too() {
    let caller = snippets().await.as_new(Tier::Free).await.unwrap();
    // On the wire its id is where a create has its snippet, of which it is none.
    let garbage = GetAccountRequest { id: "\u{7f}\u{7f}\u{7f}".into() };
    let mut raw = caller.raw().await.unwrap();
    let path = "/snippets.v1.SnippetService/CreateSnippet".parse().unwrap();
    let codec = ProstCodec::<GetAccountRequest, ()>::default();
    let status = raw.unary(Request::new(garbage), path, codec).await.unwrap_err();
    assert!([Code::Internal, Code::InvalidArgument].contains(&status.code()), "{status:?}");
    assert_explained(&status);

    let huge = Snippet { body: "x".repeat(5 * 1024 * 1024), ..Snippet::default() };
    let snippet = caller.create(huge).await.unwrap_err();
    // Much smaller, and still many times as large as what is fine.
    let display_name = "x".repeat(100 * 1024);
    let account = CreateAccountRequest { account: Some(Account { display_name, ..Account::default() }) };
    let account = snippets().await.as_admin().accounts().create_account(account).await.unwrap_err();
    for status in [snippet, account] {
        assert!([Code::OutOfRange, Code::ResourceExhausted].contains(&status.code()), "{status:?}");
        assert_explained(&status);
    }
}

/// A replica whose database is behind a proxy.
struct Slow {
    proxy: Proxy,
    replica: Service,
    _product: Product,
}

impl Slow {
    async fn start() -> Self {
        let backends = e2e::backends().await;
        let product = e2e::product(&backends).replicas(0).workers(0).start().await.unwrap();
        let (proxy, database_url) = Proxy::before_url(&backends.database_url).await.unwrap();
        let through_proxy = Backends { database_url, ..backends };
        let replica = e2e::service_of(&through_proxy, "snippets").unwrap();
        let replica = replica.env("RATELIMIT_URL", product.ratelimit.grpc_url());
        Self { proxy, replica: replica.start().await.unwrap(), _product: product }
    }
}

/// tonic's own client ends a call at its deadline by itself; this one waits to hear it from the server.
fn patient_client(server: &Service) -> SnippetServiceClient<HttpClient<HttpConnector, tonic::body::Body>> {
    let http = HttpClient::builder(TokioExecutor::new()).http2_only(true).build_http();
    SnippetServiceClient::with_origin(http, server.grpc_url().parse().unwrap())
}

fn within<T>(grpc_timeout: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", grpc_timeout.parse().unwrap());
    request
}

#[tokio::test]
async fn a_call_that_is_late_or_finds_no_database_is_explained_too() {
    let slow = Slow::start().await;
    let client = Client::to(&slow.replica).await.unwrap();
    let mut patient = patient_client(&slow.replica);
    let get = GetSnippetRequest { id: "0123456789a".into(), ..GetSnippetRequest::default() };
    let body = Snippet { body: "x".into(), ..Snippet::default() };
    let create = CreateSnippetRequest { snippet: Some(body.clone()), ..CreateSnippetRequest::default() };

    slow.proxy.delay(Duration::from_secs(1));
    for grpc_timeout in ["1m", "100m", "1n", "50000u"] {
        let read = patient.get_snippet(within(grpc_timeout, get.clone())).await.unwrap_err();
        let write = patient.create_snippet(within(grpc_timeout, create.clone())).await.unwrap_err();
        for status in [read, write] {
            assert_eq!(status.code(), Code::DeadlineExceeded, "{grpc_timeout}: {status:?}");
            assert_explained(&status);
        }
    }
    slow.proxy.delay(Duration::ZERO);
    slow.proxy.cut().await;
    let anonymous_get = client.get("0123456789a").await.unwrap_err();
    let known_get = client.with_key("snip_unknown").get("0123456789a").await.unwrap_err();
    let write = client.create(body).await.unwrap_err();
    let stats = GetViewStatsRequest { id: "0123456789a".into(), ..GetViewStatsRequest::default() };
    let stats = client.as_admin().view_stats(stats).await.unwrap_err();
    for status in [anonymous_get, known_get, write, stats] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let retry_info = status.get_details_retry_info().unwrap();
        assert!(retry_info.retry_delay.unwrap() > Duration::ZERO);
        assert_explained(&status);
    }
}
