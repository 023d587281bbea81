//! Forms and addresses over HTTP.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::sending::Senders;

const ID: &str = "id: must be 11 base62 characters (0-9, A-Z, a-z)";
const LONG_TITLE: &str = "snippet.title: must have at most 200 characters";
const LONG_LANGUAGE: &str = "snippet.language: must have at most 40 characters";
const EMPTY: &str = "snippet.body: must not be empty";
const VISIBILITY: &str = "snippet.visibility: must be public, unlisted or private";
const NO_TEXT: &str = "snippet.title: must be UTF-8";

/// A request, and what it is told.
type Case = ((Method, &'static str, String), &'static [&'static str]);

/// 400, and in JSON the same violations as in gRPC.
pub async fn are_told_the_same(senders: &Senders) {
    let long = "x".repeat(201);
    let form = |fields: String| (Method::POST, "/s", fields);
    let get = |path| (Method::GET, path, String::new());
    let cases: [Case; 13] = [
        (form(String::new()), &[EMPTY]),
        (form("body=".into()), &[EMPTY]),
        (form("body=%00".into()), &["snippet.body: must not contain NUL"]),
        (form("body=%ff".into()), &["snippet.body: must be UTF-8"]),
        (form(format!("body=x&title={long}")), &[LONG_TITLE]),
        (form(format!("body=x&language={long}")), &[LONG_LANGUAGE]),
        (form("body=x&visibility=secret".into()), &[VISIBILITY]),
        (
            form("body=x&visibility=private".into()),
            &["snippet.visibility: PRIVATE needs an owner: create it with an account's key"],
        ),
        (form("title=%80&visibility=PUBLIC".into()), &[NO_TEXT, VISIBILITY]),
        (form(format!("title={long}&language={long}&body=")), &[LONG_TITLE, LONG_LANGUAGE, EMPTY]),
        (get("/s/no-id"), &[ID]),
        (get("/s/0123456789a0/raw"), &[ID]),
        ((Method::POST, "/s/%00", String::new()), &[ID]),
    ];
    for ((method, path, body), expected) in cases {
        let case = format!("{method} {path} {body}");
        let told = told(senders, method, path, body).await;
        assert_eq!(told, expected, "{case}");
    }
}

async fn told(senders: &Senders, method: Method, path: &str, body: String) -> Vec<String> {
    let http = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", senders.product.snippets[0].grpc_url()))
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap();
    let answer = http.request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let body = to_bytes(Body::new(answer.into_body()), usize::MAX).await.unwrap();
    let json: Value = serde_json::from_slice(&body).unwrap();
    let violations = json["details"][1]["fieldViolations"].as_array().unwrap_or_else(|| panic!("{json}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    violations.iter().map(|it| format!("{}: {}", text(&it["field"]), text(&it["description"]))).collect()
}
