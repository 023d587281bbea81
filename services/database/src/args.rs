//! The flag of every service that has a database.

use chassis::config::Problems;
use clap::Args;
use secrecy::SecretString;

/// The database.
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// Postgres, as postgres://USER:PASSWORD@HOST/DATABASE.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, default_value = "")]
    pub database_url: SecretString,
}

impl DatabaseArgs {
    /// Validates; what is wrong is noted in `problems`.
    pub fn validate(&self, problems: &mut Problems) -> Option<SecretString> {
        problems.secret_url("DATABASE_URL", &self.database_url, "postgres://USER:PASSWORD@HOST/DATABASE")
    }
}
