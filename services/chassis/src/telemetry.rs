//! Logs, traces and metrics.

use std::{
    io::{IsTerminal as _, stdout},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::{Args, ValueEnum};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing_subscriber::{
    EnvFilter, Layer, filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::Problems;

/// Upper bounds of the buckets of `*_seconds` histograms: the time that something takes.
const SECONDS_BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Those of `*_lag_seconds`: what waits for another process may wait for hours.
const LAG_BUCKETS: [f64; 14] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 86_400.0];
/// By the end of a metric's name. Of two that fit, the first in alphabetical order is taken.
const BUCKETS: [(&str, &[f64]); 2] = [("_lag_seconds", &LAG_BUCKETS), ("_seconds", &SECONDS_BUCKETS)];

/// Upper bounds of the buckets of every other histogram: of sizes.
const SIZE_BUCKETS: [f64; 16] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5];

/// What becomes part of a trace, whatever is logged.
const TRACED: LevelFilter = LevelFilter::INFO;

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
static EXPORTS_TRACES: AtomicBool = AtomicBool::new(false);

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What to log, and where traces go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryArgs {
    /// How log lines look.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "pretty")]
    pub log_format: LogFormat,
    /// What to log, as tracing directives such as info,snippets=debug; traces don't depend on it.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub rust_log: String,
    /// OTLP/gRPC collector to send traces to, such as http://localhost:4317; unset: none.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_exporter_otlp_endpoint: Option<String>,
}

/// [`TelemetryArgs`], validated.
#[derive(Debug)]
pub struct TelemetryConfig {
    format: LogFormat,
    filter: EnvFilter,
    otlp_endpoint: Option<String>,
}

impl TelemetryArgs {
    /// Validates; what is wrong is noted in `problems`.
    pub fn validate(&self, problems: &mut Problems) -> Option<TelemetryConfig> {
        let filter = EnvFilter::try_new(&self.rust_log);
        if let Err(error) = &filter {
            problems
                .push("RUST_LOG", format_args!("{:?} is not a list of directives: {error}", self.rust_log));
        }
        let endpoint = self.otel_exporter_otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
        let endpoint =
            endpoint.map(|url| problems.url("OTEL_EXPORTER_OTLP_ENDPOINT", url, "http://HOST:PORT"));
        let otlp_endpoint = endpoint.map_or(Some(None), |url| url.map(Some))?;
        Some(TelemetryConfig { format: self.log_format, filter: filter.ok()?, otlp_endpoint })
    }
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A logger was installed already.
    #[error("a logger is installed already: {0}")]
    Logger(#[from] tracing_subscriber::util::TryInitError),
    /// A metrics recorder could not be built or installed.
    #[error("metrics: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The trace exporter could not be built.
    #[error("trace exporter: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Installed telemetry; [`Telemetry::shutdown`] is the last thing that a process does.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Installs the logger, the metrics recorder and, where there is an endpoint, the trace exporter.
    ///
    /// Must run inside of a Tokio runtime: the exporter needs one.
    pub fn install(service: &'static str, config: TelemetryConfig) -> Result<Self, TelemetryError> {
        install_metrics()?;
        global::set_text_map_propagator(TraceContextPropagator::new());
        let traces =
            config.otlp_endpoint.as_deref().map(|endpoint| exporter(service, endpoint)).transpose()?;
        let spans = traces.as_ref().map(|traces| {
            tracing_opentelemetry::layer().with_tracer(traces.tracer(service)).with_filter(TRACED)
        });
        EXPORTS_TRACES.store(traces.is_some(), Ordering::Relaxed);
        let logs = match config.format {
            // In colours, unless NO_COLOR is set.
            LogFormat::Pretty if stdout().is_terminal() => tracing_subscriber::fmt::layer().boxed(),
            LogFormat::Pretty => tracing_subscriber::fmt::layer().with_ansi(false).boxed(),
            LogFormat::Json => tracing_subscriber::fmt::layer().json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(spans).with(logs.with_filter(config.filter)).try_init()?;
        Ok(Self { traces })
    }

    /// Sends what is still buffered, for 5 s at most.
    pub async fn shutdown(self) {
        let Some(traces) = self.traces else { return };
        // It blocks until the exporter is done, and the exporter needs this runtime.
        let done = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(Duration::from_secs(5)));
        if let Ok(Err(error)) = done.await {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Whether spans are more than the context of log lines.
pub(crate) fn exports_traces() -> bool {
    EXPORTS_TRACES.load(Ordering::Relaxed)
}

/// The metrics in Prometheus text format.
pub(crate) fn render_metrics() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds recorded samples into their buckets; without it they pile up between scrapes.
pub(crate) fn upkeep_metrics() {
    if let Some(metrics) = METRICS.get() {
        metrics.run_upkeep();
    }
}

fn install_metrics() -> Result<(), TelemetryError> {
    let mut builder = PrometheusBuilder::new().set_buckets(&SIZE_BUCKETS)?;
    for (end, buckets) in BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Suffix(end.to_owned()), buckets)?;
    }
    let handle = builder.install_recorder()?;
    METRICS.get_or_init(|| handle);
    Ok(())
}

fn exporter(service: &'static str, endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(Duration::from_secs(5))
        .build()?;
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
