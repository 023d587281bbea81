//! The service's flags and environment variables.

use std::time::Duration;

use chassis::{
    config::{ConfigError, Problems, ServerArgs, ServerConfig},
    healthcheck::HealthcheckArgs,
    telemetry::{TelemetryArgs, TelemetryConfig},
};
use clap::{Args, Parser, Subcommand};
use database::DatabaseArgs;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{domain::KeyHash, grpc::TrustedProxies, views::SpoolOptions};

/// A bootstrap key shorter than this could be guessed.
const BOOTSTRAP_KEY_BYTES_MIN: usize = 16;
/// The most that `VIEWS_PENDING_MAX` may be: some 50 GB.
const VIEWS_PENDING_MAX: u64 = 1_000_000_000;
/// A spool has room for some batches of the largest size at least.
const VIEW_SPOOL_BYTES_MIN: u64 = 1024 * 1024;

/// The snippets service: stores and shares text snippets.
#[derive(Debug, Parser)]
#[command(name = "snippets", version, args_conflicts_with_subcommands = true)]
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
    Serve(ServeArgs),
    /// Bring the schema `snippets` up to date, then exit.
    Migrate(DatabaseArgs),
    /// Exit 0 if the service on this machine is ready.
    Healthcheck(HealthcheckArgs),
}

/// What only this service has, wherever its data lies.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// A key that makes its bearer an admin; for making the first accounts. At least 16 visible ASCII characters.
    #[arg(long, env = "BOOTSTRAP_ADMIN_KEY", hide_env_values = true, default_value = "")]
    pub bootstrap_admin_key: SecretString,
    /// Proxies whose x-forwarded-for is believed, as addresses and networks: 10.0.0.0/8,::1.
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "")]
    pub trusted_proxies: String,
    /// Bytes of copies that are kept in memory for less than a second, so that hot snippets are asked of nobody.
    #[arg(long, env = "NEAR_CACHE_BYTES", default_value = "67108864")]
    pub near_cache_bytes: String,
    /// How often counted views are sent off.
    #[arg(long, env = "VIEWS_FLUSH_INTERVAL", default_value = "200ms")]
    pub views_flush_interval: String,
    /// Snippets whose views wait in memory at most; those of further ones are dropped, and metered.
    #[arg(long, env = "VIEWS_PENDING_MAX", default_value = "1000000")]
    pub views_pending_max: String,
    /// Folder in which counted views wait on disk to be sent, one for each process; unset: they wait in memory alone.
    #[arg(long, env = "VIEW_SPOOL_DIR", default_value = "")]
    pub view_spool_dir: String,
    /// Bytes that the files in it take at most; beyond, views wait in memory.
    #[arg(long, env = "VIEW_SPOOL_MAX_BYTES", default_value = "1073741824")]
    pub view_spool_max_bytes: String,
}

/// The flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    backends: BackendsArgs,
}

/// What the service depends on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Dependencies")]
struct BackendsArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// A standby of that Postgres, for lists of public snippets, statistics and counts of views; unset: none is used.
    #[arg(long, env = "DATABASE_READ_URL", hide_env_values = true, default_value = "")]
    database_read_url: SecretString,
    /// Connections to Postgres at most, and to its standby.
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value = "16")]
    database_connections: String,
    /// Redis that caches snippets, as redis://HOST:PORT; best with the policy allkeys-lru.
    #[arg(long, env = "CACHE_REDIS_URL", hide_env_values = true, default_value = "")]
    cache_redis_url: SecretString,
    /// What the cache's keys begin with.
    #[arg(long, env = "CACHE_KEY_PREFIX", default_value = "snippets:v1")]
    cache_key_prefix: String,
    /// RabbitMQ, as amqp://USER:PASSWORD@HOST:PORT/VHOST.
    #[arg(long, env = "AMQP_URL", hide_env_values = true, default_value = "")]
    amqp_url: SecretString,
    /// The ratelimit service, as http://HOST:PORT.
    #[arg(long, env = "RATELIMIT_URL", default_value = "")]
    ratelimit_url: String,
    /// How long a write waits for the ratelimit service before it passes unchecked.
    #[arg(long, env = "RATELIMIT_TIMEOUT", default_value = "250ms")]
    ratelimit_timeout: String,
}

/// [`ApiArgs`], validated.
#[derive(Debug)]
pub struct ApiConfig {
    /// The hash of the bootstrap admin's key, if there is one.
    pub bootstrap_admin: Option<KeyHash>,
    /// Whose `x-forwarded-for` is believed.
    pub trusted_proxies: TrustedProxies,
    /// Bytes of copies that are kept in memory.
    pub near_cache_bytes: u64,
    /// How often counted views are sent off.
    pub views_flush_interval: Duration,
    /// Snippets whose views wait in memory at most.
    pub views_pending_max: usize,
    /// Where they wait on disk, if they do.
    pub view_spool: Option<SpoolOptions>,
}

/// [`ServeArgs`], validated.
#[derive(Debug)]
pub struct ServeConfig {
    /// The server and its limits.
    pub server: ServerConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// What only this service has.
    pub api: ApiConfig,
    /// What it depends on.
    pub backends: BackendsConfig,
}

/// How to reach what the service depends on.
#[derive(Debug)]
pub struct BackendsConfig {
    /// Postgres.
    pub database_url: SecretString,
    /// A standby of it, if there is one.
    pub database_read_url: Option<SecretString>,
    /// Connections to Postgres at most.
    pub database_connections: u32,
    /// Redis that caches snippets.
    pub cache_redis_url: SecretString,
    /// What the cache's keys begin with.
    pub cache_key_prefix: String,
    /// RabbitMQ.
    pub amqp_url: SecretString,
    /// The ratelimit service.
    pub ratelimit_url: String,
    /// How long a write waits for it.
    pub ratelimit_timeout: Duration,
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
        let api = self.api.validate(&mut problems);
        let backends = self.backends.validate(&mut problems);
        let config =
            || Some(ServeConfig { server: server?, telemetry: telemetry?, api: api?, backends: backends? });
        problems.finish(config())
    }
}

impl BackendsArgs {
    fn validate(self, problems: &mut Problems) -> Option<BackendsConfig> {
        let database_url = self.database.validate(problems);
        let form = "postgres://USER:PASSWORD@HOST/DATABASE";
        let read_url = Some(&self.database_read_url).filter(|url| !url.expose_secret().is_empty());
        let read_url = read_url.map(|url| problems.secret_url("DATABASE_READ_URL", url, form));
        let connections = problems.within("DATABASE_CONNECTIONS", &self.database_connections, 1, 1000);
        let cache_redis_url =
            problems.secret_url("CACHE_REDIS_URL", &self.cache_redis_url, "redis://HOST:PORT");
        let amqp_url =
            problems.secret_url("AMQP_URL", &self.amqp_url, "amqp://USER:PASSWORD@HOST:PORT/VHOST");
        let ratelimit_url = problems.url("RATELIMIT_URL", &self.ratelimit_url, "http://HOST:PORT");
        let ratelimit_timeout = problems.duration("RATELIMIT_TIMEOUT", &self.ratelimit_timeout);
        Some(BackendsConfig {
            database_url: database_url?,
            database_read_url: read_url.map_or(Some(None), |url| url.map(Some))?,
            database_connections: u32::try_from(connections?).ok()?,
            cache_redis_url: cache_redis_url?,
            cache_key_prefix: self.cache_key_prefix,
            amqp_url: amqp_url?,
            ratelimit_url: ratelimit_url?,
            ratelimit_timeout: ratelimit_timeout?,
        })
    }
}

impl ApiArgs {
    /// Validates; what is wrong is noted in `problems`.
    pub fn validate(&self, problems: &mut Problems) -> Option<ApiConfig> {
        let bootstrap_admin = self.bootstrap_admin(problems);
        let expected = "a list of addresses and networks such as 10.0.0.0/8,::1";
        let trusted_proxies = problems.parse("TRUSTED_PROXIES", &self.trusted_proxies, expected);
        let near_cache_bytes = problems.within("NEAR_CACHE_BYTES", &self.near_cache_bytes, 0, u64::MAX);
        let views_flush_interval = problems.duration("VIEWS_FLUSH_INTERVAL", &self.views_flush_interval);
        let views_pending_max =
            problems.within("VIEWS_PENDING_MAX", &self.views_pending_max, 1, VIEWS_PENDING_MAX);
        let bytes_max = problems.within(
            "VIEW_SPOOL_MAX_BYTES",
            &self.view_spool_max_bytes,
            VIEW_SPOOL_BYTES_MIN,
            u64::MAX,
        );
        let view_spool = bytes_max.map(|bytes_max| {
            let dir = Some(&self.view_spool_dir).filter(|dir| !dir.is_empty());
            dir.map(|dir| SpoolOptions { dir: dir.into(), bytes_max })
        });
        Some(ApiConfig {
            bootstrap_admin,
            trusted_proxies: trusted_proxies?,
            near_cache_bytes: near_cache_bytes?,
            views_flush_interval: views_flush_interval?,
            views_pending_max: usize::try_from(views_pending_max?).ok()?,
            view_spool: view_spool?,
        })
    }

    fn bootstrap_admin(&self, problems: &mut Problems) -> Option<KeyHash> {
        let key = self.bootstrap_admin_key.expose_secret();
        if key.is_empty() {
            return None;
        }
        if key.len() < BOOTSTRAP_KEY_BYTES_MIN {
            let problem = format_args!("must have at least {BOOTSTRAP_KEY_BYTES_MIN} characters");
            problems.push("BOOTSTRAP_ADMIN_KEY", problem);
        }
        // Others can't be sent in a header, or not by every client.
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.push("BOOTSTRAP_ADMIN_KEY", "must be visible ASCII characters, without spaces");
        }
        Some(KeyHash::of(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct TestCli {
        #[command(flatten)]
        api: ApiArgs,
    }

    /// What is wrong with a bootstrap key, as it is told.
    fn problems(key: &str) -> Option<String> {
        let cli = TestCli::try_parse_from(["snippets", "--bootstrap-admin-key", key]).unwrap();
        let mut problems = Problems::default();
        let config = cli.api.validate(&mut problems);
        problems.finish(config).err().map(|error| error.to_string())
    }

    #[test]
    fn a_bootstrap_key_that_no_header_carries_is_refused_and_not_told() {
        for key in ["", "0123456789abcdef", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"] {
            assert_eq!(problems(key), None, "{key}");
        }
        for key in [
            "0123456789 abcdef",
            "0123456789abcdef\n",
            "0123456789abcdef\t",
            "schlüssel-schlüssel",
            "\u{7f}0123456789abcdef",
        ] {
            let problems = problems(key).unwrap();
            assert!(
                problems.contains("BOOTSTRAP_ADMIN_KEY") && problems.contains("visible ASCII"),
                "{problems}"
            );
            assert!(!problems.contains(key), "{problems}");
        }
        let both = problems("kürz").unwrap();
        assert!(both.contains("visible ASCII") && both.contains("at least 16"), "{both}");
    }
}
