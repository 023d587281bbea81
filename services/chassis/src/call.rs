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

use axum::{body::Body, extract::Request, response::Response};
use futures_util::FutureExt as _;
use http_body::Body as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tower::Service;

use crate::{
    answer::Answer,
    background::panic_message,
    call_span::CallSpan,
    config::ServerConfig,
    deadline,
    face::{self, Face},
    method_metrics::{Method, MethodMetrics},
    overdue,
    request_stream::RequestStream,
    room::Room,
    routes::Routes,
    status,
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
        routes: &Routes,
        request: Request,
    ) -> Result<Response<Answer>, Status> {
        let mut place = self.room.take(method.is_stream())?;
        let deadline = Instant::now() + deadline::allowed(request.headers(), self.timeout);
        let response =
            deadline::within(deadline, handle(method, routes.answer(self.bounded(method, request))))
                .await??;
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
    routes: Routes,
) -> impl Service<Request, Response = Response<Answer>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    let routes = Arc::new(routes);
    tower::service_fn(move |request| conduct(calls.clone(), routes.clone(), request))
}

async fn conduct(
    calls: Arc<Calls>,
    routes: Arc<Routes>,
    request: Request,
) -> Result<Response<Answer>, Infallible> {
    let started = Instant::now();
    let face = Face::of(&request);
    let method = match face {
        Face::Grpc => calls.metrics.method(request.uri().path()),
        Face::Http(_) => calls.metrics.http(),
    };
    let span = CallSpan::begin(method.path(), request.headers());
    let answer = span.around(calls.answer(method, face, &routes, request)).await;
    let response = answer.unwrap_or_else(|status| face.refusal(status).map(|body| Answer::new(body, None)));
    method.record(face::code(&response), started.elapsed());
    Ok(response)
}

async fn handle(method: &Method, answer: impl Future<Output = Response>) -> Result<Response, Status> {
    AssertUnwindSafe(answer).catch_unwind().await.map_err(|panic| panicked(method, &*panic))
}

fn panicked(method: &Method, panic: &(dyn Any + Send)) -> Status {
    let message = panic_message(panic).unwrap_or("not a text");
    tracing::error!(method = method.path(), panic = message, "a handler panicked");
    metrics::counter!("grpc_panics_total").increment(1);
    status::Error::new(Code::Internal, "INTERNAL", "internal error").into()
}
