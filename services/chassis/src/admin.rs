//! The admin endpoint: `/metrics`, `/livez`, `/readyz`.

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::StatusCode;

use crate::{health::Monitor, telemetry};

pub(crate) fn router(monitor: Monitor) -> Router {
    Router::new()
        .route("/metrics", get(|| async { telemetry::render_metrics() }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(monitor)
}

/// One line says whether the service is ready; one more for each dependency that is down.
async fn readyz(State(monitor): State<Monitor>) -> impl IntoResponse {
    let report = monitor.report();
    let (status, word) = match (report.ready, report.down.is_empty()) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let down = report.down.iter().map(|(name, why)| format!("{name}: {why}\n"));
    (status, format!("{word}\n{}", down.collect::<String>()))
}
