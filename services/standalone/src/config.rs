//! The flags and environment variables of `standalone`.

use std::path::PathBuf;

use chassis::{
    config::{ConfigError, Problems, ServerArgs, ServerConfig},
    healthcheck::HealthcheckArgs,
    telemetry::{TelemetryArgs, TelemetryConfig},
};
use clap::{Args, Parser, Subcommand};
use ratelimit::rules::RulesArgs;
use snippets::config::{ApiArgs, ApiConfig};

/// The whole system in one process, on SQLite and memory, with nothing to install.
#[derive(Debug, Parser)]
#[command(name = "standalone", version, args_conflicts_with_subcommands = true)]
// One laptop, one user: reachable from elsewhere only when asked to be.
#[command(mut_arg("listen_addr", |arg| arg.default_value("127.0.0.1:50051")))]
#[command(mut_arg("admin_addr", |arg| arg.default_value("127.0.0.1:9464")))]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, parsed once")]
pub(crate) enum Command {
    /// Serve everything (the default).
    #[command(mut_arg("listen_addr", |arg| arg.default_value("127.0.0.1:50051")))]
    #[command(mut_arg("admin_addr", |arg| arg.default_value("127.0.0.1:9464")))]
    Serve(ServeArgs),
    /// Exit 0 if the server on this machine is ready.
    Healthcheck(HealthcheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// Where the data lies; made if it is missing.
    #[arg(long, env = "DATA_DIR", default_value = "data")]
    data_dir: PathBuf,
    #[command(flatten)]
    rules: RulesArgs,
}

/// [`ServeArgs`], validated.
pub(crate) struct ServeConfig {
    pub(crate) server: ServerConfig,
    pub(crate) telemetry: TelemetryConfig,
    pub(crate) api: ApiConfig,
    pub(crate) data_dir: PathBuf,
    pub(crate) ratelimit_rules: Option<PathBuf>,
}

impl ServeArgs {
    pub(crate) fn validate(self) -> Result<ServeConfig, ConfigError> {
        let mut problems = Problems::default();
        let server = self.server.validate(&mut problems);
        let telemetry = self.telemetry.validate(&mut problems);
        let api = self.api.validate(&mut problems);
        let (data_dir, ratelimit_rules) = (self.data_dir, self.rules.path());
        let config = || {
            Some(ServeConfig { server: server?, telemetry: telemetry?, api: api?, data_dir, ratelimit_rules })
        };
        problems.finish(config())
    }
}
