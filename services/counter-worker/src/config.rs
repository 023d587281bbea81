//! The worker's flags and environment variables.

use std::time::Duration;

use chassis::{
    config::{ConfigError, Problems, ServerArgs, ServerConfig},
    healthcheck::HealthcheckArgs,
    telemetry::{TelemetryArgs, TelemetryConfig},
};
use clap::{Args, Parser, Subcommand};
use database::DatabaseArgs;
use secrecy::SecretString;

use crate::{Retention, Settings, dead_letters::DeadLettersArgs};

/// The counter worker: adds the views that come through RabbitMQ up in Postgres.
#[derive(Debug, Parser)]
#[command(name = "counter-worker", version, args_conflicts_with_subcommands = true)]
#[command(mut_arg("listen_addr", |arg| arg.default_value("0.0.0.0:50053")))]
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
    /// Consume view batches (the default).
    #[command(mut_arg("listen_addr", |arg| arg.default_value("0.0.0.0:50053")))]
    Serve(ServeArgs),
    /// Bring the schema `views` up to date, then exit.
    Migrate(DatabaseArgs),
    /// List, show, replay or purge the batches that were set aside.
    DeadLetters(DeadLettersArgs),
    /// Exit 0 if the worker on this machine is ready.
    Healthcheck(HealthcheckArgs),
}

/// The flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// RabbitMQ, as amqp://USER:PASSWORD@HOST:PORT/VHOST.
    #[arg(long, env = "AMQP_URL", hide_env_values = true, default_value = "")]
    amqp_url: SecretString,
    /// How long the first batch of a commit waits for others.
    #[arg(long, env = "FLUSH_INTERVAL", default_value = "200ms")]
    flush_interval: String,
    /// How many batches are committed without waiting longer; up to twice as many are in memory.
    #[arg(long, env = "FLUSH_BATCHES_MAX", default_value = "128")]
    flush_batches_max: String,
    /// Days for which counted batches and deleted snippets are remembered; a batch that comes back later is a dead letter.
    #[arg(long, env = "BATCH_RETENTION_DAYS", default_value = "7")]
    batch_retention_days: String,
    /// Days for which views are kept by the hour; by the day they are kept for as long as their snippet.
    #[arg(long, env = "HOURLY_RETENTION_DAYS", default_value = "90")]
    hourly_retention_days: String,
}

/// [`ServeArgs`], validated.
#[derive(Debug)]
pub struct Config {
    /// Where health and metrics are served.
    pub server: ServerConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Postgres.
    pub database_url: SecretString,
    /// RabbitMQ.
    pub amqp_url: SecretString,
    /// How batches are gathered.
    pub settings: Settings,
    /// What is forgotten when.
    pub retention: Retention,
}

impl ServeArgs {
    /// Validates all of it.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn validate(self) -> Result<Config, ConfigError> {
        let mut problems = Problems::default();
        let server = self.server.validate(&mut problems);
        let telemetry = self.telemetry.validate(&mut problems);
        let database_url = self.database.validate(&mut problems);
        let amqp_url =
            problems.secret_url("AMQP_URL", &self.amqp_url, "amqp://USER:PASSWORD@HOST:PORT/VHOST");
        let flush_interval = problems.duration("FLUSH_INTERVAL", &self.flush_interval);
        // Twice as many of the greatest batches there are take 200 MB.
        let batches_max = problems.within("FLUSH_BATCHES_MAX", &self.flush_batches_max, 1, 1_000);
        let batch_days = problems.within("BATCH_RETENTION_DAYS", &self.batch_retention_days, 1, 365);
        let hourly_days = problems.within("HOURLY_RETENTION_DAYS", &self.hourly_retention_days, 1, 3650);
        let config = move || {
            let flush_batches_max = usize::try_from(batches_max?).ok()?;
            Some(Config {
                server: server?,
                telemetry: telemetry?,
                database_url: database_url?,
                amqp_url: amqp_url?,
                settings: Settings { flush_interval: flush_interval?, flush_batches_max },
                retention: Retention { batches: days(batch_days?), hourly: days(hourly_days?) },
            })
        };
        problems.finish(config())
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URLS: [&str; 2] =
        ["--database-url=postgres://u:hunter2@h/d", "--amqp-url=amqp://u:hunter2@h:5672/%2f"];

    fn validate(flags: &[&str]) -> Result<Config, ConfigError> {
        let cli = Cli::try_parse_from([&["counter-worker"], flags].concat()).expect("flags");
        cli.serve.validate()
    }

    #[test]
    fn two_urls_are_enough() {
        let config = validate(&URLS).expect("valid");
        assert_eq!(config.settings.flush_batches_max, Settings::default().flush_batches_max);
        assert_eq!(config.settings.flush_interval, Settings::default().flush_interval);
        assert_eq!(config.retention, Retention::default());
    }

    #[test]
    fn every_mistake_is_reported_and_no_secret_printed() {
        let flags = ["--database-url=hunter2", "--amqp-url=http://u:hunter2@h", "--flush-batches-max=0"];
        let flags = [&flags[..], &["--batch-retention-days=366", "--hourly-retention-days=0"]].concat();
        let error = validate(&flags).expect_err("invalid").to_string();
        let retention = ["BATCH_RETENTION_DAYS", "HOURLY_RETENTION_DAYS"];
        for variable in ["DATABASE_URL", "AMQP_URL", "FLUSH_BATCHES_MAX"].into_iter().chain(retention) {
            assert!(error.contains(variable), "{error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
        assert!(!format!("{:?}", validate(&URLS)).contains("hunter2"));
    }
}
