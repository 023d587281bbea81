//! Flags and environment variables, validated whole: every mistake is reported, not the first.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

/// Collects what is wrong with a configuration, so that one run reports all of it.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

/// Every mistake in a configuration, one a line.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not valid:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Problems {
    /// Notes that the option of that variable is wrong, and what would be right.
    pub fn push(&mut self, variable: &str, problem: impl fmt::Display) {
        let flag = variable.to_lowercase().replace('_', "-");
        self.0.push(format!("--{flag} ({variable}): {problem}"));
    }

    /// Parses a value; `expected` says what would be right, such as "an address such as 0.0.0.0:50051".
    pub fn parse<T: FromStr>(&mut self, variable: &str, value: &str, expected: &str) -> Option<T> {
        let parsed = value.trim().parse().ok();
        if parsed.is_none() {
            self.push(variable, format_args!("{value:?} is not {expected}"));
        }
        parsed
    }

    /// Parses a duration such as `200ms`, `10s` or `1m 30s`; zero is refused.
    pub fn duration(&mut self, variable: &str, value: &str) -> Option<Duration> {
        let parsed = humantime::parse_duration(value.trim()).ok().filter(|d| !d.is_zero());
        if parsed.is_none() {
            self.push(variable, format_args!("{value:?} is not a duration above 0 such as 200ms or 10s"));
        }
        parsed
    }

    /// Parses a whole number within a range.
    pub fn within(&mut self, variable: &str, value: &str, min: u64, max: u64) -> Option<u64> {
        let parsed = value.trim().parse().ok().filter(|n| (min..=max).contains(n));
        if parsed.is_none() {
            self.push(variable, format_args!("{value:?} is not a whole number from {min} to {max}"));
        }
        parsed
    }

    /// Checks for a URL of the scheme in `form`, such as `http://HOST:PORT`.
    pub fn url(&mut self, variable: &str, value: &str, form: &str) -> Option<String> {
        let scheme = form.split("://").next().unwrap_or_default();
        let (given, rest) = value.split_once("://").unwrap_or_default();
        // What was given is not repeated: it may hold a password.
        if given.strip_suffix('s') == Some(scheme) {
            self.push(variable, format_args!("TLS is not supported; expected {form}"));
        } else if rest.is_empty() || (given != scheme && (scheme, given) != ("postgres", "postgresql")) {
            self.push(variable, format_args!("is required, as {form}"));
        } else {
            return Some(value.to_owned());
        }
        None
    }

    /// Checks for a URL that may hold a password.
    pub fn secret_url(&mut self, variable: &str, value: &SecretString, form: &str) -> Option<SecretString> {
        self.url(variable, value.expose_secret(), form).map(SecretString::from)
    }

    /// The error that lists everything noted so far.
    pub fn into_error(self) -> ConfigError {
        ConfigError(self.0)
    }

    /// Gives the configuration back if nothing was noted. Callers build it as an `Option`, with `?` on
    /// each parsed part after all parts were parsed.
    pub fn finish<T>(self, config: Option<T>) -> Result<T, ConfigError> {
        match config {
            Some(config) if self.0.is_empty() => Ok(config),
            _ => Err(self.into_error()),
        }
    }
}

/// Where to listen, and the limits of the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Address of the gRPC server.
    #[arg(long, env = "LISTEN_ADDR", default_value = "0.0.0.0:50051")]
    pub listen_addr: String,
    /// Address of /metrics, /livez and /readyz.
    #[arg(long, env = "ADMIN_ADDR", default_value = "0.0.0.0:9464")]
    pub admin_addr: String,
    /// Threads that serve connections; 0 is one for each core.
    #[arg(long, env = "SERVER_THREADS", default_value = "0")]
    pub server_threads: String,
    /// Longest that a call may take; a caller's shorter deadline wins.
    #[arg(long, env = "REQUEST_TIMEOUT", default_value = "10s")]
    pub request_timeout: String,
    /// Connections open at once; further ones wait to be accepted.
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "10000")]
    pub max_connections: String,
    /// Calls in flight at once; further ones are answered UNAVAILABLE.
    #[arg(long, env = "MAX_IN_FLIGHT", default_value = "20000")]
    pub max_in_flight: String,
    /// Calls in flight at once on one connection.
    #[arg(long, env = "MAX_CONCURRENT_STREAMS", default_value = "256")]
    pub max_concurrent_streams: String,
    /// How often an idle connection is pinged.
    #[arg(long, env = "KEEPALIVE_INTERVAL", default_value = "30s")]
    pub keepalive_interval: String,
    /// How long a ping may stay unanswered before the connection is closed.
    #[arg(long, env = "KEEPALIVE_TIMEOUT", default_value = "20s")]
    pub keepalive_timeout: String,
    /// How long a stopping server lets calls and background work finish.
    #[arg(long, env = "DRAIN_TIMEOUT", default_value = "15s")]
    pub drain_timeout: String,
}

/// [`ServerArgs`], validated.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address of the gRPC server.
    pub listen_addr: SocketAddr,
    /// Address of the admin endpoint.
    pub admin_addr: SocketAddr,
    /// Threads that serve connections, at least 1.
    pub server_threads: usize,
    /// Longest that a call may take.
    pub request_timeout: Duration,
    /// Connections open at once.
    pub max_connections: usize,
    /// Calls in flight at once.
    pub max_in_flight: usize,
    /// Calls in flight at once on one connection.
    pub max_concurrent_streams: u32,
    /// How often an idle connection is pinged.
    pub keepalive_interval: Duration,
    /// How long a ping may stay unanswered.
    pub keepalive_timeout: Duration,
    /// How long draining may take.
    pub drain_timeout: Duration,
}

impl ServerArgs {
    /// Validates; what is wrong is noted in `problems`.
    pub fn validate(&self, problems: &mut Problems) -> Option<ServerConfig> {
        let address = "an address such as 0.0.0.0:50051";
        let listen_addr = problems.parse("LISTEN_ADDR", &self.listen_addr, address);
        let admin_addr = problems.parse("ADMIN_ADDR", &self.admin_addr, address);
        let server_threads = problems.within("SERVER_THREADS", &self.server_threads, 0, 1024);
        let request_timeout = problems.duration("REQUEST_TIMEOUT", &self.request_timeout);
        let max_connections = problems.within("MAX_CONNECTIONS", &self.max_connections, 1, 1_000_000);
        let max_in_flight = problems.within("MAX_IN_FLIGHT", &self.max_in_flight, 1, 1_000_000);
        let streams = problems.within("MAX_CONCURRENT_STREAMS", &self.max_concurrent_streams, 1, 65_536);
        let keepalive_interval = problems.duration("KEEPALIVE_INTERVAL", &self.keepalive_interval);
        let keepalive_timeout = problems.duration("KEEPALIVE_TIMEOUT", &self.keepalive_timeout);
        let drain_timeout = problems.duration("DRAIN_TIMEOUT", &self.drain_timeout);
        Some(ServerConfig {
            listen_addr: listen_addr?,
            admin_addr: admin_addr?,
            server_threads: threads_or_cores(server_threads?),
            request_timeout: request_timeout?,
            max_connections: usize::try_from(max_connections?).ok()?,
            max_in_flight: usize::try_from(max_in_flight?).ok()?,
            max_concurrent_streams: u32::try_from(streams?).ok()?,
            keepalive_interval: keepalive_interval?,
            keepalive_timeout: keepalive_timeout?,
            drain_timeout: drain_timeout?,
        })
    }
}

fn threads_or_cores(threads: u64) -> usize {
    match usize::try_from(threads) {
        Ok(threads) if threads > 0 => threads,
        _ => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        server: ServerArgs,
    }

    fn validate(flags: &[&str]) -> Result<ServerConfig, ConfigError> {
        let args = Flags::parse_from([&["service"], flags].concat());
        let mut problems = Problems::default();
        let config = args.server.validate(&mut problems);
        problems.finish(config)
    }

    #[test]
    fn defaults_are_valid() {
        let config = validate(&[]).unwrap();
        assert!(config.server_threads >= 1);
        assert_eq!(config.request_timeout, Duration::from_secs(10));
    }

    #[test]
    fn every_mistake_is_reported_with_what_would_be_right() {
        let error =
            validate(&["--listen-addr=here", "--request-timeout=0s", "--max-connections=0"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(r#"--listen-addr (LISTEN_ADDR): "here" is not an address such as"#), "{text}");
        assert!(text.contains("--request-timeout (REQUEST_TIMEOUT)"), "{text}");
        assert!(text.contains("a whole number from 1 to 1000000"), "{text}");
    }

    #[test]
    fn a_url_has_the_scheme_that_is_spoken() {
        let said = |url: &str, form: &str| {
            let mut problems = Problems::default();
            problems.url("URL", url, form).unwrap_or_else(|| problems.into_error().to_string())
        };
        assert_eq!(said("postgresql://h/db", "postgres://HOST"), "postgresql://h/db");
        assert!(
            said("rediss://hunter2@h", "redis://HOST")
                .contains("TLS is not supported; expected redis://HOST")
        );
        for wrong in ["", "redis://", "h:6379", "http://h"] {
            assert!(said(wrong, "redis://HOST").contains("is required, as redis://HOST"), "{wrong}");
        }
    }
}
