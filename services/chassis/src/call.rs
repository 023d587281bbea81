//! The conduct of every call, around whatever handles it: a span that continues the caller's trace, metrics, limits on what
//! all calls take up together, a deadline, panics caught, and every error explained in the way that its client understands.

use std::{
    any::Any,
    convert::Infallible,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use futures_util::FutureExt as _;
use http::HeaderMap;
use http_body::Body as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};
use tracing::{Instrument as _, Span};

use crate::{
    answer::Answer,
    background::panic_message,
    config::ServerConfig,
    deadline,
    face::{self, Face},
    method_metrics::{Method, MethodMetrics},
    overdue, propagation,
    request_stream::RequestStream,
    room::Room,
    status, telemetry,
};

/// The address a connection comes from, in the extensions of each of its requests.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub SocketAddr);

/// What all calls of a server share.
pub(crate) struct Calls {
    timeout: Duration,
    room: Arc<Room>,
    metrics: MethodMetrics,
    draining: CancellationToken,
}

impl Calls {
    pub(crate) fn new(config: &ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            timeout: config.request_timeout,
            room: Room::new(config),
            metrics: MethodMetrics::new(),
            draining: CancellationToken::new(),
        })
    }

    /// Ends the requests that are streams, as they have no end of their own.
    pub(crate) fn end_streams(&self) {
        self.draining.cancel();
    }

    async fn answer(
        &self,
        method: &Method,
        face: Face,
        routes: Router,
        request: Request,
    ) -> Result<Response<Answer>, Status> {
        let mut place = self.room.take(method.is_stream())?;
        let deadline = Instant::now() + deadline::allowed(request.headers(), self.timeout);
        let response = deadline::within(deadline, handle(routes, self.bounded(method, request))).await??;
        if !method.is_stream() {
            overdue::ends_at(deadline.into());
        }
        let response = face.explain(response);
        if let Face::Http(_) = face {
            // It has no trailers in which it could be refused later.
            place.hold(usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX))?;
        }
        Ok(response.map(|body| Answer::new(body, Some(place))))
    }

    fn bounded(&self, method: &Method, request: Request) -> Request {
        if !method.is_stream() {
            return request;
        }
        request.map(|body| Body::new(RequestStream::new(body, self.draining.clone())))
    }
}

/// Answers the calls of `routes` as the module says.
pub(crate) fn conducted(
    calls: Arc<Calls>,
    routes: Router,
) -> impl Service<Request, Response = Response<Answer>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    tower::service_fn(move |request| conduct(calls.clone(), routes.clone(), request))
}

async fn conduct(
    calls: Arc<Calls>,
    routes: Router,
    request: Request,
) -> Result<Response<Answer>, Infallible> {
    let started = Instant::now();
    let face = Face::of(&request);
    let method = match face {
        Face::Grpc => calls.metrics.method(request.uri().path()),
        Face::Http(_) => calls.metrics.http(),
    };
    let span = span(method.path(), request.headers());
    let answer = calls.answer(method, face, routes, request).instrument(span).await;
    let response = answer.unwrap_or_else(|status| face.refusal(status).map(|body| Answer::new(body, None)));
    method.record(face::code(&response), started.elapsed());
    Ok(response)
}

fn span(path: &'static str, headers: &HeaderMap) -> Span {
    if !telemetry::exports_traces() {
        // Each field is written down for log lines, whether or not there are any.
        return tracing::info_span!("call", rpc.method = path);
    }
    let span = tracing::info_span!("call", otel.name = path, otel.kind = "server", rpc.method = path);
    if !span.is_disabled() && headers.contains_key("traceparent") {
        propagation::set_parent(&span, |key| headers.get(key)?.to_str().ok());
    }
    span
}

async fn handle(routes: Router, request: Request) -> Result<Response, Status> {
    let handled = AssertUnwindSafe(routes.oneshot(request)).catch_unwind().await;
    let Ok(response) = handled.map_err(|panic| panicked(&*panic))?;
    Ok(response)
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    tracing::error!(message = panic_message(panic).unwrap_or("not a text"), "a handler panicked");
    metrics::counter!("grpc_panics_total").increment(1);
    status::Error::new(Code::Internal, "INTERNAL", "internal error").into()
}
