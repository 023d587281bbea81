//! A form that a browser, or curl, sends.

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use http::{HeaderMap, header::CONTENT_TYPE};
use percent_encoding::percent_decode_str;
use rpc::snippets::v1 as pb;

use super::error::Failure;
use crate::{
    domain::{Violation, Violations},
    grpc::ApiError,
};

/// Largest form, in bytes: a body of 1 MiB in which each byte is written as three, and room to say what is wrong with one that
/// is somewhat larger.
const BYTES_MAX: usize = 4 * 1024 * 1024;

const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// How large the form is to be, if that was said.
pub(super) fn announced_bytes(body: &Body) -> Result<Option<u64>, Failure> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > BYTES_MAX as u64) {
        Err(Failure::TooLarge)
    } else {
        Ok(announced)
    }
}

/// Reads the whole form, unless it is too large or none.
pub(super) async fn receive(headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(MEDIA_TYPE) {
        return Err(Failure::NotAForm);
    }
    // Who breaks off does not hear the answer.
    to_bytes(body, BYTES_MAX).await.map_err(|_| Failure::TooLarge)
}

/// What was typed, as a snippet that is yet to be validated.
///
/// # Errors
/// [`ApiError::Invalid`] with every field that is not UTF-8, or not one of those offered.
pub(super) fn snippet(form: &[u8]) -> Result<pb::Snippet, ApiError> {
    let mut snippet = pb::Snippet::default();
    let mut violations = Violations::default();
    let form = std::str::from_utf8(form).map_err(|_| Violation::new("snippet.body", NOT_UTF8))?;
    for (name, value) in form.split('&').filter_map(|pair| pair.split_once('=')) {
        let field = match name {
            "title" => &mut snippet.title,
            "language" => &mut snippet.language,
            "body" => &mut snippet.body,
            "visibility" => {
                snippet.visibility =
                    violations.check("snippet", visibility(value)).unwrap_or_default().into();
                continue;
            }
            _ => continue,
        };
        let violation = || Violation::new(format!("snippet.{name}"), NOT_UTF8);
        *field = violations.check("", decode(value).ok_or_else(violation)).unwrap_or_default();
    }
    // A browser writes each end of a line like this, whatever was typed or pasted.
    snippet.body = snippet.body.replace("\r\n", "\n");
    violations.into_result()?;
    Ok(snippet)
}

const NOT_UTF8: &str = "must be UTF-8";

/// What a browser makes of text in a form.
fn decode(value: &str) -> Option<String> {
    let value = value.replace('+', " ");
    percent_decode_str(&value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn visibility(value: &str) -> Result<pb::Visibility, Violation> {
    match value {
        "public" => Ok(pb::Visibility::Public),
        "" | "unlisted" => Ok(pb::Visibility::Unlisted),
        "private" => Ok(pb::Visibility::Private),
        _ => Err(Violation::new("visibility", "must be public, unlisted or private")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(form: &str) -> Vec<String> {
        match snippet(form.as_bytes()) {
            Err(ApiError::Invalid(violations)) => violations.into_iter().map(|it| it.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_what_a_browser_writes() {
        let form =
            "title=A+%26+b&language=c%2B%2B&visibility=public&body=%3Cp%3E%0D%0A%E2%82%AC%3D1&other=x&bare";
        let snippet = snippet(form.as_bytes()).unwrap();
        assert_eq!(snippet.title, "A & b");
        assert_eq!(snippet.language, "c++");
        assert_eq!(snippet.visibility(), pb::Visibility::Public);
        assert_eq!(snippet.body, "<p>\n\u{20ac}=1");
        assert_eq!(super::snippet(b"").unwrap(), pb::Snippet { visibility: 0, ..pb::Snippet::default() });
    }

    #[test]
    fn every_field_that_is_no_text_is_named() {
        assert_eq!(
            fields("title=%ff&body=x%80&visibility=secret"),
            ["snippet.title", "snippet.body", "snippet.visibility"]
        );
    }

    #[tokio::test]
    async fn only_a_form_of_the_right_size_is_read() {
        let headers = |value: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
        let utf8 = headers("Application/X-WWW-Form-Urlencoded; charset=utf-8");
        assert_eq!(receive(&utf8, Body::from("body=x")).await.unwrap(), "body=x");
        let large = receive(&utf8, Body::from(vec![b'x'; BYTES_MAX + 1])).await;
        assert!(matches!(large, Err(Failure::TooLarge)), "{large:?}");
        for other in ["multipart/form-data; boundary=x", "text/plain", ""] {
            let refused = receive(&headers(other), Body::empty()).await;
            assert!(matches!(refused, Err(Failure::NotAForm)), "{other}: {refused:?}");
        }
    }
}
