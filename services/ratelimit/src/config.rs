//! The service's flags and environment variables.

use std::{path::PathBuf, time::Duration};

use chassis::{
    config::{ConfigError, Problems, ServerArgs, ServerConfig},
    healthcheck::HealthcheckArgs,
    telemetry::{TelemetryArgs, TelemetryConfig},
};
use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;

use crate::{
    grpc::ResponseHeaders,
    inspect::{CheckRulesArgs, ExplainArgs},
    rules::RulesArgs,
    stores::{RedisAddress, RedisCountersConfig},
};

/// Longest that requests are known: each takes some hundred bytes of Redis.
const REQUEST_ID_TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest key prefix, in bytes.
const KEY_PREFIX_BYTES_MAX: usize = 64;
/// Most counters held in memory: with their keys some hundred bytes each.
const LOCAL_COUNTERS_MAX: u64 = 10_000_000;
/// Most denials logged in a second.
const DENIAL_LOG_PER_SECOND_MAX: u64 = 1000;

/// The ratelimit service: says whether a request may pass, exactly and for all replicas together.
#[derive(Debug, Parser)]
#[command(name = "ratelimit", version, args_conflicts_with_subcommands = true)]
#[command(mut_arg("listen_addr", |arg| arg.default_value("0.0.0.0:50052")))]
pub struct Cli {
    /// What to do; serve, if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of serve.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, parsed once")]
pub enum Command {
    /// Serve the API (the default).
    #[command(mut_arg("listen_addr", |arg| arg.default_value("0.0.0.0:50052")))]
    Serve(ServeArgs),
    /// Exit 0 if the service on this machine is ready.
    Healthcheck(HealthcheckArgs),
    /// Check rules without serving them; exit 1 with every mistake.
    CheckRules(CheckRulesArgs),
    /// Say which limits a request falls under, and why others don't apply.
    Explain(ExplainArgs),
}

/// The flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    rules: RulesArgs,
    /// Redis that holds the counters: redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/MASTER or
    /// redis+cluster://HOST:PORT,HOST:PORT; its policy must be noeviction.
    #[arg(long, env = "COUNTERS_REDIS_URL", hide_env_values = true, default_value = "")]
    counters_redis_url: SecretString,
    /// How long a Check waits for Redis before each rule's `on_error` decides; less than callers wait for it.
    #[arg(long, env = "REDIS_TIMEOUT", default_value = "100ms")]
    redis_timeout: String,
    /// How long a Check with a `request_id` is known, for repeats and refunds; at most 1day. Denied ones are for a minute.
    #[arg(long, env = "REQUEST_ID_TTL", default_value = "1h")]
    request_id_ttl: String,
    /// What the counters' keys begin with: letters, digits and any of _ . : -
    #[arg(long, env = "KEY_PREFIX", default_value = "rl")]
    key_prefix: String,
    /// Headers that Envoy is told to add to responses.
    #[arg(long, env = "ENVOY_RESPONSE_HEADERS", default_value = "none")]
    envoy_response_headers: ResponseHeaders,
    /// Counters held in memory at most, for rules whose `on_error` is local.
    #[arg(long, env = "LOCAL_COUNTERS_MAX", default_value = "100000")]
    local_counters_max: String,
    /// Denials logged a second, with their descriptors, at most 1000; 0 logs none.
    #[arg(long, env = "DENIAL_LOG_PER_SECOND", default_value = "0")]
    denial_log_per_second: String,
}

/// [`ServeArgs`], validated.
#[derive(Debug)]
pub struct ServeConfig {
    /// The server and its limits.
    pub server: ServerConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Where the rules are; `None` for those built in.
    pub rules: Option<PathBuf>,
    /// Redis.
    pub counters: RedisCountersConfig,
    /// How long a Check with a `request_id` is known.
    pub request_id_ttl: Duration,
    /// Headers that Envoy is told to add to responses.
    pub envoy_response_headers: ResponseHeaders,
    /// Counters held in memory at most.
    pub local_counters_max: usize,
    /// Denials logged a second.
    pub denial_log_per_second: u64,
}

impl ServeArgs {
    /// Validates the whole configuration.
    ///
    /// # Errors
    /// Lists every mistake, and what would be right.
    pub fn validate(self) -> Result<ServeConfig, ConfigError> {
        let mut problems = Problems::default();
        let server = self.server.validate(&mut problems);
        let telemetry = self.telemetry.validate(&mut problems);
        let address = RedisAddress::parse(&self.counters_redis_url)
            .inspect_err(|error| problems.push("COUNTERS_REDIS_URL", error.to_string()))
            .ok();
        let timeout = problems.duration("REDIS_TIMEOUT", &self.redis_timeout);
        let request_id_ttl = problems.duration("REQUEST_ID_TTL", &self.request_id_ttl);
        if request_id_ttl.is_some_and(|ttl| ttl > REQUEST_ID_TTL_MAX) {
            problems.push("REQUEST_ID_TTL", "must be 1day at most");
        }
        if !is_key_prefix(&self.key_prefix) {
            problems.push("KEY_PREFIX", "must have 1 to 64 letters, digits or any of _ . : -");
        }
        let local = problems.within("LOCAL_COUNTERS_MAX", &self.local_counters_max, 1, LOCAL_COUNTERS_MAX);
        let denial_log_per_second = problems.within(
            "DENIAL_LOG_PER_SECOND",
            &self.denial_log_per_second,
            0,
            DENIAL_LOG_PER_SECOND_MAX,
        );
        let config = move || {
            Some(ServeConfig {
                server: server?,
                telemetry: telemetry?,
                rules: self.rules.path(),
                counters: RedisCountersConfig {
                    address: address?,
                    key_prefix: self.key_prefix,
                    timeout: timeout?,
                },
                request_id_ttl: request_id_ttl?,
                envoy_response_headers: self.envoy_response_headers,
                local_counters_max: usize::try_from(local?).ok()?,
                denial_log_per_second: denial_log_per_second?,
            })
        };
        problems.finish(config())
    }
}

/// Braces would take the place of the hash tag that keeps a subject's keys together.
fn is_key_prefix(prefix: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=KEY_PREFIX_BYTES_MAX).contains(&prefix.len()) && prefix.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(flags: &[&str]) -> Result<ServeConfig, ConfigError> {
        Cli::try_parse_from([&["ratelimit"], flags].concat()).unwrap().serve.validate()
    }

    #[test]
    fn a_url_is_enough() {
        let config = validate(&["--counters-redis-url=redis://h:6379"]).unwrap();
        assert_eq!(config.server.listen_addr.port(), 50052);
        assert_eq!(config.counters.timeout, Duration::from_millis(100));
        assert!(config.rules.is_none());
    }

    #[test]
    fn an_empty_path_of_rules_is_none() {
        // Compose files and the like pass a variable that is unset as empty.
        for (value, path) in [("", None), ("/rules", Some(PathBuf::from("/rules")))] {
            let flags = ["--counters-redis-url=redis://h:6379", "--ratelimit-rules", value];
            assert_eq!(validate(&flags).unwrap().rules, path);
        }
    }

    #[test]
    fn every_mistake_is_reported_and_no_secret_printed() {
        let flags = [
            "--counters-redis-url=hunter2",
            "--redis-timeout=0s",
            "--key-prefix={a}",
            "--request-id-ttl=25h",
            "--local-counters-max=0",
            "--denial-log-per-second=1001",
        ];
        let error = validate(&flags).unwrap_err().to_string();
        for variable in [
            "COUNTERS_REDIS_URL",
            "REDIS_TIMEOUT",
            "KEY_PREFIX",
            "REQUEST_ID_TTL",
            "LOCAL_COUNTERS_MAX",
            "DENIAL_LOG_PER_SECOND",
        ] {
            assert!(error.contains(variable), "{error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
        let config = validate(&["--counters-redis-url=redis://u:hunter2@h"]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
