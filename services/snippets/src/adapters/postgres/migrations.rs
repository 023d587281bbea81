use ::database::{Migrations, Schema};
use secrecy::SecretString;

const SCHEMA: Schema = Schema {
    name: "snippets",
    migrations: Migrations(&[
        (1, "initial", include_str!("../../../migrations/postgres/0001_initial.sql")),
        (2, "lifetimes", include_str!("../../../migrations/postgres/0002_lifetimes.sql")),
        (3, "lists", include_str!("../../../migrations/postgres/0003_lists.sql")),
        (4, "lists", include_str!("../../../migrations/postgres/0004_lists.sql")),
    ]),
};

/// Brings the schema `snippets` up to date. Doing so twice, also at once, is the same as once.
pub async fn migrate(url: &SecretString) -> anyhow::Result<()> {
    Ok(SCHEMA.migrate(url).await?)
}
