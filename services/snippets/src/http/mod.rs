//! The HTTP face of the service: snippets by their address, and a page to share one. It stands on the methods of the API, behind
//! the same authentication and limit, and works without scripts.

mod assets;
mod caching;
mod error;
mod form;
mod highlight;
mod json;
mod negotiation;
mod origin;
mod page;
mod pages;
mod paste;
mod snippet;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use http::{
    HeaderName, HeaderValue,
    header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS},
};

use crate::{
    grpc::{Callers, Misses, Snippets, authenticate, limit_misses},
    ports::RateLimiter,
};

/// Nothing runs, nothing is fetched from elsewhere, and nobody frames it.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the routes share.
struct Site {
    api: Arc<Snippets>,
    limiter: Arc<dyn RateLimiter>,
    pages: pages::Pages,
}

/// The routes of the HTTP face, each caller known.
pub(crate) fn routes(
    api: Arc<Snippets>,
    limiter: Arc<dyn RateLimiter>,
    misses: Arc<Misses>,
    callers: Arc<Callers>,
) -> Router {
    let site = Site { api, limiter, pages: pages::Pages::new() };
    let of_callers = Router::new()
        .route("/s/{id}", get(snippet::get).post(snippet::reveal))
        .route("/s/{id}/raw", get(snippet::get_raw))
        .layer(middleware::from_fn_with_state(misses, limit_misses))
        .route("/", get(paste::home))
        .route("/s", post(paste::share))
        .with_state(Arc::new(site))
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn_with_state(callers, authenticate))
        .layer(middleware::from_fn(error::told_in_http))
        .layer(middleware::map_response(varying));
    let files =
        Router::new().route("/assets/{name}", get(assets::get)).route("/favicon.ico", get(assets::favicon));
    of_callers.merge(files).layer(middleware::from_fn(guarded))
}

/// The same address has other answers for other callers.
async fn varying(mut response: Response) -> Response {
    response.headers_mut().insert(VARY, HeaderValue::from_static(caching::VARY));
    response
}

/// Middleware: tells browsers what they must not do with an answer. A call of gRPC has mistaken the path for a method.
async fn guarded(request: Request, next: Next) -> Response {
    if chassis::is_grpc(request.headers()) {
        return tonic::Status::unimplemented("").into_http();
    }
    let mut response = next.run(request).await;
    let guards: [(HeaderName, &str); 3] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The address of an unlisted snippet is all that it takes to read it.
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in guards {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
