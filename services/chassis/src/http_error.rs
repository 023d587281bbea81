//! Errors as a client is told them that does not speak gRPC: the same code, reason, message and time to come back, under
//! the HTTP status that stands for the code.

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{accept, status};

/// How an error is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line of text.
    Text,
    /// A `google.rpc.Status`.
    Json,
}

impl Format {
    /// What the client likes better; text, if it takes neither.
    pub fn of(headers: &HeaderMap) -> Self {
        match accept::best(headers, &["text/plain", "application/json"]) {
            Some(1) => Self::Json,
            _ => Self::Text,
        }
    }
}

/// The HTTP status that stands for a code, as `google.rpc.Code` says.
pub fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        // What is not served is not there: a path that gRPC calls an unknown method.
        Code::NotFound | Code::Unimplemented => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// The error that a response carries as a gRPC status in its headers, with an `ErrorInfo`; `None`, if it carries none.
pub fn carried(response: &Response) -> Option<Status> {
    let status = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok)?;
    // That is how the router of gRPC says that it knows no such path.
    if status.code() == Code::Unimplemented && status.message().is_empty() {
        return Some(
            status::Error::new(Code::NotFound, "NOT_FOUND", "there is nothing at this address").into(),
        );
    }
    Some(status::with_error_info(status))
}

/// An answer that tells the error.
pub fn response(status: &Status, format: Format) -> Response {
    let (media_type, body) = match format {
        Format::Text => ("text/plain; charset=utf-8", format!("{}\n", status.message())),
        Format::Json => ("application/json", json(status).to_string()),
    };
    with_body(status, media_type, body)
}

/// An answer that tells the error in words of one's own.
pub fn with_body(status: &Status, media_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = http_status(status.code());
    *response.headers_mut() = headers(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.extensions_mut().insert(status.code());
    response
}

/// What a response that carries an error is to a client of HTTP. An HTTP status of its own stays: gRPC has no code for each.
pub(crate) fn translate(carrier: &Response, format: Format) -> Option<Response> {
    let mut told = response(&carried(carrier)?, format);
    if !carrier.status().is_success() {
        *told.status_mut() = carrier.status();
    }
    Some(told)
}

/// What belongs to the error, whatever it is written in: `retry-after`, and the limit that was met.
fn headers(status: &Status) -> HeaderMap {
    let limits = status.metadata().clone().into_headers().into_iter();
    let limits = limits.filter_map(|(name, value)| Some((name?, value)));
    let mut headers: HeaderMap = limits.filter(|(name, _)| name.as_str().starts_with("ratelimit-")).collect();
    let retry_delay = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
    if let Some(delay) = retry_delay {
        headers.insert(RETRY_AFTER, status::ceil_seconds(delay).into());
    }
    if status.code() == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}

fn json(status: &Status) -> Value {
    let details = details(&status.get_error_details());
    json!({"code": status.code() as i32, "message": status.message(), "details": details})
}

/// The details that errors are made with, as protobuf's JSON has them.
fn details(details: &ErrorDetails) -> Vec<Value> {
    let info = details
        .error_info()
        .map(|info| json!({"@type": type_url("ErrorInfo"), "reason": info.reason, "domain": info.domain}));
    let retry = details
        .retry_info()
        .and_then(|retry| retry.retry_delay)
        .map(|delay| json!({"@type": type_url("RetryInfo"), "retryDelay": seconds(delay)}));
    let fields = details.bad_request().map(|bad| {
        let violations = bad.field_violations.iter();
        let violations = violations.map(|it| json!({"field": it.field, "description": it.description}));
        json!({"@type": type_url("BadRequest"), "fieldViolations": violations.collect::<Vec<_>>()})
    });
    let quota = details.quota_failure().map(|quota| {
        let violations = quota.violations.iter();
        let violations = violations.map(|it| json!({"subject": it.subject, "description": it.description}));
        json!({"@type": type_url("QuotaFailure"), "violations": violations.collect::<Vec<_>>()})
    });
    [info, fields, retry, quota].into_iter().flatten().collect()
}

fn type_url(name: &str) -> String {
    format!("type.googleapis.com/google.rpc.{name}")
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:09}s", duration.as_secs(), duration.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Error, ExceededQuota, FieldViolation};

    fn denial() -> Status {
        let quota = ExceededQuota {
            subject: "caller=a".into(),
            rule: "writes".into(),
            limit: 60,
            remaining: 0,
            retry_after: Duration::from_millis(1001),
            reset_after: Duration::from_secs(60),
        };
        Error::rate_limited(&quota).into()
    }

    #[test]
    fn a_denial_says_the_same_as_in_grpc() {
        let answer = response(&denial(), Format::Json);
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        for (name, value) in [("retry-after", "2"), ("ratelimit-limit", "60"), ("ratelimit-reset", "60")] {
            assert_eq!(answer.headers()[name], value);
        }
        let json = json(&denial());
        assert_eq!(json["code"], 8);
        assert_eq!(json["details"][0]["reason"], "RATE_LIMITED");
        assert_eq!(json["details"][1]["retryDelay"], "1.001000000s");
        assert_eq!(json["details"][2]["violations"][0]["subject"], "caller=a");
    }

    #[test]
    fn a_wrong_field_is_named() {
        let violation = FieldViolation { field: "id".into(), description: "must be 11".into() };
        let status = Status::from(Error::invalid_argument([violation]));
        assert_eq!(status.message(), "id: must be 11");
        let violations = &json(&status)["details"][1]["fieldViolations"];
        assert_eq!(violations[0], json!({"field": "id", "description": "must be 11"}));
    }

    #[test]
    fn what_a_response_carries_is_found_whole() {
        assert!(carried(&Response::default()).is_none());
        let told = carried(&denial().into_http::<Body>()).unwrap();
        assert_eq!(headers(&told)[RETRY_AFTER], "2");
        let unavailable = Error::unavailable("STORE_UNAVAILABLE", "away", Duration::from_millis(200));
        let told = carried(&Status::from(unavailable).into_http::<Body>()).unwrap();
        assert_eq!(headers(&told)[RETRY_AFTER], "1");
    }
}
