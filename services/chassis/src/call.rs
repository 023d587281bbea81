//! The conduct of every call, around whatever handles it: a span that continues the caller's trace, metrics, a limit
//! on calls in flight, a deadline, panics caught, and an `ErrorInfo` on every error.

use std::{
    any::Any,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures_util::FutureExt as _;
use http::HeaderMap;
use tokio::sync::Semaphore;
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};

use crate::{config::ServerConfig, deadline, method_metrics::MethodMetrics, propagation, status};

/// The address a connection comes from, in the extensions of each of its requests.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub SocketAddr);

/// What all calls of a server share.
pub(crate) struct Calls {
    timeout: Duration,
    in_flight: Semaphore,
    metrics: MethodMetrics,
}

impl Calls {
    pub(crate) fn new(config: &ServerConfig) -> Arc<Self> {
        let in_flight = Semaphore::new(config.max_in_flight);
        Arc::new(Self { timeout: config.request_timeout, in_flight, metrics: MethodMetrics::new() })
    }

    async fn answer(&self, request: Request, next: Next) -> Result<Response, Status> {
        let _permit = self.in_flight.try_acquire().map_err(|_| overloaded())?;
        let allowed = deadline::allowed(request.headers(), self.timeout);
        let call = AssertUnwindSafe(next.run(request)).catch_unwind();
        deadline::within(allowed, call).await?.map_err(|panic| panicked(&*panic))
    }
}

/// Middleware: answers a call as the module says.
pub(crate) async fn conduct(State(calls): State<Arc<Calls>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = calls.metrics.method(request.uri().path());
    let span = span(method.path(), request.headers());
    let response = explain(calls.answer(request, next).instrument(span).await);
    method.record(code(response.headers()), started.elapsed());
    response
}

fn span(path: &'static str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!("call", otel.name = path, otel.kind = "server", rpc.method = path);
    if !span.is_disabled() && headers.contains_key("traceparent") {
        propagation::set_parent(&span, |key| headers.get(key)?.to_str().ok());
    }
    span
}

fn code(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

/// Gives every gRPC error its `ErrorInfo`, also what tonic itself refused.
fn explain(answer: Result<Response, Status>) -> Response {
    match answer {
        Ok(response) if code(response.headers()) == Code::Ok => response,
        Ok(response) => match Status::from_header_map(response.headers()) {
            Some(status) if status.details().is_empty() => into_response(status),
            _ => response,
        },
        Err(status) => into_response(status),
    }
}

fn into_response(status: Status) -> Response {
    status::with_error_info(status).into_http::<tonic::body::Body>().map(Body::new)
}

fn overloaded() -> Status {
    metrics::counter!("grpc_overloaded_total").increment(1);
    status::Error::unavailable("OVERLOADED", "too many calls at once", Duration::from_secs(1)).into()
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    let message = panic.downcast_ref::<&str>().copied();
    let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(message = message.unwrap_or("not a string"), "a handler panicked");
    metrics::counter!("grpc_panics_total").increment(1);
    status::Error::new(Code::Internal, "INTERNAL", "internal error").into()
}
