//! The flags of `dead-letters`.

use chassis::config::{ConfigError, Problems};
use clap::{ArgGroup, Args, Subcommand};
use secrecy::SecretString;

/// The flags of `dead-letters`.
#[derive(Debug, Args)]
pub struct DeadLettersArgs {
    /// RabbitMQ, as amqp://USER:PASSWORD@HOST:PORT/VHOST.
    #[arg(long, env = "AMQP_URL", hide_env_values = true, default_value = "", global = true)]
    amqp_url: SecretString,
    #[command(subcommand)]
    pub(super) action: Action,
}

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Print a line for each, the oldest first.
    List(ListArgs),
    /// Print all about one.
    Show(ShowArgs),
    /// Put letters back into the queue, from where they are counted once, however often they are replayed.
    Replay(ReplayArgs),
    /// Throw letters away.
    Purge(PurgeArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// How many at most.
    #[arg(long, value_name = "N", default_value = "100")]
    pub(super) limit: u64,
    /// Print a JSON object for each, and the summary on standard error.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The letter, by its id in the list.
    pub(super) id: String,
    /// How many of its counts to print at most.
    #[arg(long, value_name = "N", default_value = "20")]
    pub(super) counts: usize,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub(super) struct ReplayArgs {
    /// All that are well-formed.
    #[arg(long, group = "which")]
    pub(super) all: bool,
    /// These, by their ids in the list.
    #[arg(value_name = "ID", group = "which")]
    pub(super) ids: Vec<String>,
    /// Malformed ones, too. A worker will reject them again, unless it is one that knows better.
    #[arg(long)]
    pub(super) malformed: bool,
    /// How many at most.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub(super) struct PurgeArgs {
    /// All of them, views that were never counted included.
    #[arg(long, group = "which")]
    pub(super) all: bool,
    /// Those that are malformed.
    #[arg(long, group = "which")]
    pub(super) malformed: bool,
    /// These, by their ids in the list.
    #[arg(value_name = "ID", group = "which")]
    pub(super) ids: Vec<String>,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl DeadLettersArgs {
    pub(super) fn url(&self) -> Result<SecretString, ConfigError> {
        let mut problems = Problems::default();
        let url = problems.secret_url("AMQP_URL", &self.amqp_url, "amqp://USER:PASSWORD@HOST:PORT/VHOST");
        problems.finish(url)
    }
}
