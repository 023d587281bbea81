//! envoyproxy/ratelimit, to compare with: `go install github.com/envoyproxy/ratelimit/src/service_cmd@latest`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use stack::{Port, http_get, sum_samples, until};
use tempfile::TempDir;
use tokio::time::sleep;

const RULES: &str = include_str!("../rules/envoy.yaml");
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often its metrics are brought up to date.
const FLUSHED_EACH: Duration = Duration::from_millis(500);

/// Whether it remembers in process what is denied. By default it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalCache {
    On,
    Off,
}

/// A running envoyproxy/ratelimit; ends when dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    grpc: Port,
    metrics: Port,
    _debug: Port,
    http: Port,
    _rules: TempDir,
}

impl Peer {
    pub(crate) async fn start(binary: &Path, redis_url: &str, cache: LocalCache) -> anyhow::Result<Self> {
        let rules = tempfile::tempdir()?;
        fs::create_dir(rules.path().join("config"))?;
        fs::write(rules.path().join("config/envoy.yaml"), RULES)?;
        let redis = redis_url.trim_start_matches("redis://").trim_end_matches('/');
        let [grpc, http, debug, metrics] = [Port::free()?, Port::free()?, Port::free()?, Port::free()?];
        let process = Command::new(binary)
            .env_clear()
            .envs([("REDIS_SOCKET_TYPE", "tcp"), ("REDIS_URL", redis)])
            .envs([("USE_STATSD", "false"), ("USE_PROMETHEUS", "true")])
            .env("PROMETHEUS_ADDR", metrics.addr().to_string())
            .env("STATS_FLUSH_INTERVAL", format!("{}ms", FLUSHED_EACH.as_millis()))
            .envs([("HOST", "127.0.0.1"), ("GRPC_HOST", "127.0.0.1"), ("DEBUG_HOST", "127.0.0.1")])
            .env("GRPC_PORT", grpc.number().to_string())
            .env("DEBUG_PORT", debug.number().to_string())
            .env("PORT", http.number().to_string())
            .env("RUNTIME_ROOT", rules.path())
            .env("RUNTIME_WATCH_ROOT", "false")
            .env("LOCAL_CACHE_SIZE_IN_BYTES", if cache == LocalCache::On { "1048576" } else { "0" })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("can't start {}", binary.display()))?;
        let peer = Self { process, grpc, http, metrics, _debug: debug, _rules: rules };
        let healthy = async || {
            http_get(peer.http.addr(), "/healthcheck").await.is_ok_and(|answer| answer.status == 200)
        };
        until("envoyproxy/ratelimit is healthy", PATIENCE, healthy).await?;
        Ok(peer)
    }

    pub(crate) fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc.addr())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Calls that it decided about, and calls that failed for Redis or for itself.
    pub(crate) async fn answered(&self) -> anyhow::Result<[f64; 2]> {
        sleep(2 * FLUSHED_EACH).await;
        let metrics = http_get(self.metrics.addr(), "/metrics").await?.body;
        let failed =
            ["redis", "service"].map(|of| format!("ratelimit_service_call_should_rate_limit_{of}_error"));
        let decided = sum_samples(&metrics, "ratelimit_service_rate_limit_total_hits");
        Ok([decided, failed.iter().map(|name| sum_samples(&metrics, name)).sum()])
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
