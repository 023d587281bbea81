//! `GET /` and `POST /s`.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use e2e::{Client, violated_fields};
use rpc::snippets::v1::{Snippet, Tier, Visibility};
use stack::http_get;

use crate::web::{Answer, Web, clients, product};

const HTML: &str = "text/html";

/// Anonymous, from an address of its own: the writes of an address are limited.
async fn web_from(address: &str) -> (Web, Client) {
    let (web, grpc) = clients().await;
    (web.with("x-forwarded-for", address), grpc)
}

fn id_in(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    answer.header("location").strip_prefix("/s/").unwrap().to_owned()
}

#[tokio::test]
async fn what_a_browser_sends_is_shared() {
    let (web, grpc) = web_from("198.51.100.1").await;
    let form = "title=A+%26+b&language=c%2B%2B&visibility=public&body=%3Cp%3E%0D%0A%E2%82%AC";
    let shared = web.with("sec-fetch-site", "same-origin").accepting(HTML).share(form).await;
    let id = id_in(&shared);
    assert_eq!(shared.body, format!("/s/{id}\n"), "for curl");
    let snippet = grpc.look(&id).await.unwrap();
    assert_eq!((snippet.title.as_str(), snippet.language.as_str()), ("A & b", "c++"));
    assert_eq!((snippet.visibility(), snippet.owner.as_str()), (Visibility::Public, ""));
    assert_eq!(grpc.get(&id).await.unwrap().body, "<p>\n\u{20ac}");

    let owner = grpc.new_key(Tier::Free).await.unwrap();
    let own = web.with("x-api-key", &owner.secret).share("body=mine&visibility=private").await;
    assert_eq!(grpc.with_key(&owner.secret).look(&id_in(&own)).await.unwrap().owner, owner.account.id);
}

#[tokio::test]
async fn bad_input_is_refused_as_in_grpc_and_kept_in_the_form() {
    let (web, grpc) = web_from("198.51.100.2").await;
    let title = "t".repeat(201);
    let snippet = Snippet { title: title.clone(), body: String::new(), ..Snippet::default() };
    let of_grpc = violated_fields(&grpc.as_admin().create(snippet).await.unwrap_err());
    let form = format!("title={title}&language=%3Cb%3E&body=");

    let json = web.accepting("application/json").share(form.clone()).await;
    assert_eq!(json.status, StatusCode::BAD_REQUEST);
    let json = json.json();
    let violations = json["details"][1]["fieldViolations"].as_array().unwrap();
    let fields: Vec<_> = violations.iter().map(|it| it["field"].as_str().unwrap()).collect();
    assert_eq!(fields, of_grpc);

    let page = web.accepting(HTML).share(form).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.body.contains(&format!("value=\"{title}\"")) && page.body.contains("value=\"&lt;b&gt;\""));
    assert!(page.body.contains("id=\"title-wrong\"") && page.body.contains("id=\"body-wrong\""), "{page:?}");
    assert!(!page.body.contains("id=\"language-wrong\""));
}

#[tokio::test]
async fn a_mebibyte_fits_however_it_is_written_and_no_more() {
    let (web, _) = web_from("198.51.100.3").await;
    let all_escaped = "%78".repeat(1024 * 1024);
    id_in(&web.share(format!("body={all_escaped}")).await);
    let more = web.share(format!("body={}", "x".repeat(1024 * 1024 + 1))).await;
    assert_eq!(more.status, StatusCode::BAD_REQUEST);
    let flood = web.share("x".repeat(5 * 1024 * 1024)).await;
    assert_eq!(flood.status, StatusCode::PAYLOAD_TOO_LARGE);
    let no_form = web.with("content-type", "text/plain").send(Method::POST, "/s", Body::from("body=x")).await;
    assert_eq!(no_form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn other_sites_share_nothing_in_a_visitors_name() {
    let (web, _) = web_from("198.51.100.4").await;
    for foreign in [
        web.with("sec-fetch-site", "cross-site"),
        web.with("origin", "https://evil.example"),
        web.over_http2().with("origin", "https://evil.example"),
        web.with("origin", "null"),
    ] {
        assert_eq!(foreign.share("body=x").await.status, StatusCode::FORBIDDEN);
    }
    id_in(&web.over_http2().with("origin", "http://127.0.0.1:1").share("body=x").await);
}

#[tokio::test]
async fn it_is_limited_together_with_grpc() {
    let (web, grpc) = web_from("198.51.100.5").await;
    let grpc = grpc.with_header("x-forwarded-for", "198.51.100.5");
    for _ in 0..30 {
        grpc.create(Snippet { body: "x".into(), ..Snippet::default() }).await.unwrap();
        id_in(&web.share("body=x").await);
    }
    for (accept, form) in [(HTML, "text/html; charset=utf-8"), ("*/*", "text/plain; charset=utf-8")] {
        let denied = web.accepting(accept).share("body=x").await;
        assert_eq!(denied.status, StatusCode::TOO_MANY_REQUESTS, "{denied:?}");
        assert!(denied.header("retry-after").parse::<u64>().unwrap() > 0);
        assert_eq!(denied.header("ratelimit-limit"), "60");
        assert_eq!(denied.header("content-type"), form);
    }
    let json = web.accepting("application/json").share("body=x").await.json();
    assert_eq!(json["details"][0]["reason"], "RATE_LIMITED");
}

#[tokio::test]
async fn the_form_and_what_it_refers_to_are_served() {
    let (web, _) = clients().await;
    let home = web.accepting(HTML).get("/").await;
    assert_eq!((home.status, home.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    // So that a browser says where the form comes from.
    assert_eq!(home.header("referrer-policy"), "same-origin");
    let files: Vec<_> = home.body.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert_eq!(files.len(), 2, "{home:?}");
    for path in files {
        let file = http_get(product().await.snippets[0].grpc_addr(), path).await.unwrap();
        assert_eq!(file.status, 200);
        assert_eq!(file.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    }
}
