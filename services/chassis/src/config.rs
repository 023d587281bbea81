//! Flags and environment variables, validated whole: every mistake is reported, not the first.

mod problems;

use std::{net::SocketAddr, time::Duration};

use clap::Args;

pub use problems::{ConfigError, Problems};

/// Of the drain timeout one part in so many is for the background, however long the calls take.
const BACKGROUND_SHARE: u32 = 4;

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
    /// Calls in flight at once, until their answers are taken; further ones are answered UNAVAILABLE.
    #[arg(long, env = "MAX_IN_FLIGHT", default_value = "20000")]
    pub max_in_flight: String,
    /// Bytes of answers over 16 KiB that clients have yet to take; beyond, calls are answered UNAVAILABLE.
    #[arg(long, env = "MAX_ANSWER_BYTES", default_value = "268435456")]
    pub max_answer_bytes: String,
    /// Calls in flight at once on one connection.
    #[arg(long, env = "MAX_CONCURRENT_STREAMS", default_value = "100")]
    pub max_concurrent_streams: String,
    /// How often an idle connection is pinged.
    #[arg(long, env = "KEEPALIVE_INTERVAL", default_value = "30s")]
    pub keepalive_interval: String,
    /// How long a ping may stay unanswered before the connection is closed.
    #[arg(long, env = "KEEPALIVE_TIMEOUT", default_value = "20s")]
    pub keepalive_timeout: String,
    /// Longest that a client may take to say which HTTP it speaks, and to send the head of a request of HTTP/1.
    #[arg(long, env = "HANDSHAKE_TIMEOUT", default_value = "10s")]
    pub handshake_timeout: String,
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
    /// Calls in flight at once; streams may be a sixteenth of it on top.
    pub max_in_flight: usize,
    /// Bytes of answers over 16 KiB that clients have yet to take.
    pub max_answer_bytes: usize,
    /// Calls in flight at once on one connection.
    pub max_concurrent_streams: u32,
    /// How often an idle connection is pinged.
    pub keepalive_interval: Duration,
    /// How long a ping may stay unanswered.
    pub keepalive_timeout: Duration,
    /// Longest that a client may take to say which HTTP it speaks.
    pub handshake_timeout: Duration,
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
        let answer_bytes = problems.within("MAX_ANSWER_BYTES", &self.max_answer_bytes, 1024 * 1024, 1 << 40);
        let streams = problems.within("MAX_CONCURRENT_STREAMS", &self.max_concurrent_streams, 1, 65_536);
        let keepalive_interval = problems.duration("KEEPALIVE_INTERVAL", &self.keepalive_interval);
        let keepalive_timeout = problems.duration("KEEPALIVE_TIMEOUT", &self.keepalive_timeout);
        let handshake_timeout = problems.duration("HANDSHAKE_TIMEOUT", &self.handshake_timeout);
        let drain_timeout = problems.duration("DRAIN_TIMEOUT", &self.drain_timeout);
        Some(ServerConfig {
            listen_addr: listen_addr?,
            admin_addr: admin_addr?,
            server_threads: threads_or_cores(server_threads?),
            request_timeout: request_timeout?,
            max_connections: usize::try_from(max_connections?).ok()?,
            max_in_flight: usize::try_from(max_in_flight?).ok()?,
            max_answer_bytes: usize::try_from(answer_bytes?).ok()?,
            max_concurrent_streams: u32::try_from(streams?).ok()?,
            keepalive_interval: keepalive_interval?,
            keepalive_timeout: keepalive_timeout?,
            handshake_timeout: handshake_timeout?,
            drain_timeout: drain_timeout?,
        })
    }
}

impl ServerConfig {
    /// How long the background tasks of a stopping server have to finish, one after the other: a quarter of the drain
    /// timeout, and what the calls leave of the rest. What is not finished then is aborted.
    pub fn background_timeout(&self) -> Duration {
        self.drain_timeout / BACKGROUND_SHARE
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
        assert_eq!(config.background_timeout(), Duration::from_millis(3750));
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
}
