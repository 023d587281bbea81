//! What snippets take in Postgres, and how fast they go in, as there are more of them.

use std::time::Instant;

use clap::Args;
use stack::{Database, Postgres, PostgresOptions, Service, binary};

use crate::report::aligned;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Snippets, all public and owned, so that each is in every index there is.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(PARTS * STEP..))]
    snippets: u32,
    /// Tags of each, of a thousand different ones.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10))]
    tags: u32,
    /// Length of each.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    body_bytes: u32,
    /// Connections that create single ones in the end.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
}

/// Parts of the way that are told apart.
const PARTS: i64 = 5;
/// Snippets in one statement.
const STEP: i64 = 10_000;
const PGBENCH_SECONDS: u32 = 10;
const ACCOUNTS: &str = "insert into snippets.accounts
    select lpad(to_hex(account), 32, '0')::uuid, '', 1, false, now() from generate_series(1, 1000) as account";
const SIZES: &str = "select relname, pg_relation_size(oid) / 1024 / 1024, pg_relation_size(oid) / (
        select count(*) from snippets.snippets)
    from pg_class where relnamespace = 'snippets'::regnamespace and relkind in ('r', 'i', 't')
        and pg_relation_size(oid) > 1024 * 1024
    order by 2 desc";

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Waits for the disk, as in production.
    let server = Postgres::start_with(PostgresOptions { fsync: true, port: None }).await?;
    let database = server.database().await?;
    let service = Service::builder("snippets", binary("snippets")?);
    service.env("DATABASE_URL", database.url()).run("migrate").await?;
    database.execute(ACCOUNTS).await?;
    fill(&database, arguments).await?;
    database.execute("vacuum analyze").await?;
    let script = format!("{};\n", insert(arguments, 1));
    let creates = database.pgbench(&script, arguments.connections, PGBENCH_SECONDS).await?;
    sizes(&database).await?;
    println!("\n{creates:.0} creates/s, one at a time on each of {} connections", arguments.connections);
    Ok(())
}

async fn fill(database: &Database, arguments: &Arguments) -> anyhow::Result<()> {
    let part = i64::from(arguments.snippets) / PARTS;
    let mut rows = vec![["snippets", "inserted/s"].map(str::to_owned)];
    let insert = insert(arguments, STEP);
    for number in 1..=PARTS {
        let began = Instant::now();
        for _ in 0..part / STEP {
            database.execute(&insert).await?;
        }
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let rate = (part / STEP * STEP) as f64 / began.elapsed().as_secs_f64();
        rows.push([(number * part).to_string(), format!("{rate:.0}")]);
    }
    let Arguments { tags, body_bytes, .. } = arguments;
    println!("{tags} tags, {body_bytes} bytes, {STEP} in a statement\n\n{}", aligned(&rows));
    Ok(())
}

/// Ids are as random as those of the service, and times go up.
fn insert(arguments: &Arguments, count: i64) -> String {
    let Arguments { tags, body_bytes, .. } = arguments;
    format!(
        "insert into snippets.snippets
            (id, title, language, body, tags, visibility, owner, create_time, update_time, version)
        select substr(md5(random()::text || n), 1, 11), 'a title of some length', 'rust', repeat('x', {body_bytes}),
            array(select distinct 'tag' || (random() * 1000)::int from generate_series(1, {tags}) where n > 0), 1,
            lpad(to_hex(1 + (random() * 999)::int), 32, '0')::uuid, clock_timestamp(), clock_timestamp(), 1
        from generate_series(1, {count}) as n on conflict do nothing"
    )
}

async fn sizes(database: &Database) -> anyhow::Result<()> {
    let mut rows = vec![["relation", "MiB", "bytes/snippet"].map(str::to_owned)];
    for row in database.execute(SIZES).await?.lines() {
        let mut cells = row.split('|').map(str::to_owned);
        rows.push([(); 3].map(|()| cells.next().unwrap_or_default()));
    }
    println!("\n{}", aligned(&rows));
    Ok(())
}
