//! Requests of plain HTTP.

use arbitrary::{Result, Unstructured};
use axum::body::{Body, to_bytes};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use tower::ServiceExt as _;

use crate::{errors::gives_nothing_away, message::text, session::Session};

const ACCEPTED: [&str; 8] = [
    "*/*",
    "text/html",
    "application/json",
    "text/plain;q=0.5, */*;q=0",
    "image/png",
    ";;,q=",
    "text/html;q=2",
    "",
];
const FIELDS: [&str; 6] = ["body", "title", "language", "visibility", "other", "body"];
const VALUES: [&str; 8] = ["x", "public", "private", "%ff", "%00", "a+b%0D%0A", "%", "<b>&amp;"];
const ESCAPED: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

/// Sends one request; whatever it is, the answer is no failure of ours.
pub fn call(session: &mut Session<'_>, input: &mut Unstructured<'_>) -> Result<()> {
    let id = escaped(&text(input, &session.known)?);
    let (method, path) = match input.arbitrary::<u8>()? % 8 {
        0 => ("GET", "/".to_owned()),
        1 | 2 => ("POST", "/s".to_owned()),
        3 => ("POST", format!("/s/{id}")),
        4 => ("GET", format!("/s/{id}/raw")),
        5 => ("HEAD", format!("/s/{id}")),
        6 => ("GET", format!("/assets/{id}")),
        _ => ("GET", format!("/s/{id}")),
    };
    let mut request = Request::builder().method(method).uri(path);
    let form = "application/x-www-form-urlencoded";
    let key = session.key(input)?.map(str::to_owned);
    for (name, value) in [
        ("accept", Some((*input.choose(&ACCEPTED)?).to_owned())),
        ("content-type", (input.arbitrary::<u8>()? % 8 != 7).then(|| form.to_owned())),
        ("x-api-key", key),
        (
            *input.choose(&["if-none-match", "origin", "sec-fetch-site", "x-forwarded-for"])?,
            Some(text(input, &session.known)?),
        ),
    ] {
        let name = HeaderName::from_static(name);
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            request = request.header(name, value);
        }
    }
    let Ok(request) = request.body(Body::from(form_of(session, input)?)) else { return Ok(()) };
    let told = session.api.runtime.block_on(async {
        let answer = session.api.routes.clone().oneshot(request).await.expect("routes never fail");
        let (head, body) = answer.into_parts();
        (head, to_bytes(body, usize::MAX).await.expect("a whole body"))
    });
    is_fine(session, &told.0, &told.1);
    Ok(())
}

fn is_fine(session: &mut Session<'_>, head: &http::response::Parts, body: &[u8]) {
    assert!(!head.status.is_server_error(), "{head:?}");
    if head.status.is_client_error() {
        let is_page =
            head.headers.get("content-type").is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
        // A page has a style sheet, and the form what was typed.
        if !is_page {
            gives_nothing_away(&String::from_utf8_lossy(body));
        }
    }
    if head.status == StatusCode::SEE_OTHER {
        let path = head.headers.get("location").and_then(|path| path.to_str().ok()).expect("where it is");
        session.known.extend(path.strip_prefix("/s/").map(str::to_owned));
    }
}

fn form_of(session: &Session<'_>, input: &mut Unstructured<'_>) -> Result<String> {
    let mut form = Vec::new();
    for _ in 0..input.arbitrary::<u8>()? % 6 {
        let value = match input.arbitrary::<u8>()? % 3 {
            0 => (*input.choose(&VALUES)?).to_owned(),
            1 => text(input, &session.known)?,
            _ => escaped(&text(input, &session.known)?),
        };
        form.push(format!("{}={value}", input.choose(&FIELDS)?));
    }
    Ok(form.join("&"))
}

fn escaped(text: &str) -> String {
    let escape = |byte: &u8| {
        if ESCAPED.contains(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.as_bytes().iter().map(escape).collect()
}
