use ::database::{Migration, Migrations, Schema};
use secrecy::SecretString;

const SCHEMA: Schema = Schema {
    name: "snippets",
    migrations: Migrations(&[
        Migration::new(1, "initial", include_str!("../../../migrations/postgres/0001_initial.sql")),
        Migration::new(2, "lifetimes", include_str!("../../../migrations/postgres/0002_lifetimes.sql")),
        Migration::new(
            3,
            "page token key",
            include_str!("../../../migrations/postgres/0003_page_token_key.sql"),
        ),
        Migration::new(
            4,
            "api key indexes",
            include_str!("../../../migrations/postgres/0004_api_key_indexes.sql"),
        )
        .concurrently(),
        Migration::new(5, "lists", include_str!("../../../migrations/postgres/0005_lists.sql")),
        Migration::new(6, "list entries", include_str!("../../../migrations/postgres/0006_list_entries.sql"))
            .in_batches(),
        Migration::new(7, "deletions", include_str!("../../../migrations/postgres/0007_deletions.sql")),
        Migration::new(
            8,
            "invalidations",
            include_str!("../../../migrations/postgres/0008_invalidations.sql"),
        ),
    ]),
};

/// Brings the schema `snippets` up to date. Doing so twice, also at once, is the same as once.
pub async fn migrate(url: &SecretString) -> anyhow::Result<()> {
    Ok(SCHEMA.migrate(url).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection as _, PgConnection};
    use std::time::Duration;
    use tokio::task::JoinSet;
    use tokio_util::sync::CancellationToken;

    /// Before there were lists.
    const BEFORE: usize = 4;
    const FILL: &str = "
        insert into snippets.accounts select lpad(to_hex(account), 32, '0')::uuid, '', 1, false, now()
        from generate_series(1, 20) as account;
        insert into snippets.snippets
            (id, title, language, body, tags, visibility, owner, create_time, update_time, version)
        select lpad(n::text, 11, '0'), '', case when n % 3 > 0 then 'rust' else '' end, repeat('x', 200),
            case when n % 4 = 0 then array['a', 'b'] when n % 4 = 1 then array['a'] else '{}' end, 1 + n % 3,
            case when n % 2 = 0 then lpad(to_hex(1 + n % 20), 32, '0')::uuid end, now() + n * interval '1 s', now(), 1
        from generate_series(1, 100000) as n";
    /// What users do meanwhile, of whom none may be kept waiting for long.
    const USES: [&str; 4] = [
        "update snippets.snippets set tags = array_append(tags, 'c'), language = 'go', version = version + 1
            where id = lpad(floor(random() * 100000)::text, 11, '0') and version < 5",
        "update snippets.snippets set visibility = 1 + (visibility % 3), version = version + 1
            where id = lpad(floor(random() * 100000)::text, 11, '0')",
        "delete from snippets.snippets where id = lpad(floor(random() * 100000)::text, 11, '0')",
        "insert into snippets.snippets
            (id, title, language, body, tags, visibility, owner, create_time, update_time, version)
            values (lpad(floor(random() * 1e11)::text, 11, 'x'), '', 'rust', 'x', array['d'], 1, null, now(), now(), 1)
            on conflict do nothing",
    ];
    /// Entries that are missing, and those that should not be there.
    const WRONG: &str = "
        with expected as (
            select distinct id, entry.language, entry.tag, visibility, owner, create_time
            from snippets.snippets as snippet, lateral (
                select language, tag from unnest(array['', snippet.language]) as language,
                    unnest(array_append(snippet.tags, '')) as tag
            ) as entry
            where visibility = 1 or owner is not null
        ), found as (select id, language, tag, visibility, owner, create_time from snippets.list_entries)
        select (select count(*) from (table expected except table found) as missing),
            (select count(*) from (table found except table expected) as unexpected),
            (select count(*) from found) > 100000";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn lists_are_filled_while_snippets_are_written() {
        let database = stack::shared().database().await;
        let url = SecretString::from(database.url());
        let before = Schema { migrations: Migrations(&SCHEMA.migrations.0[..BEFORE]), ..SCHEMA };
        before.migrate(&url).await.unwrap();
        database.execute(FILL).await.unwrap();
        let (mut users, stop) = (JoinSet::new(), CancellationToken::new());
        for sql in USES {
            let mut connection = PgConnection::connect(database.url()).await.unwrap();
            sqlx::raw_sql("set lock_timeout = '3s'").execute(&mut connection).await.unwrap();
            let stop = stop.clone();
            users.spawn(async move {
                while !stop.is_cancelled() {
                    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        migrate(&url).await.unwrap();
        stop.cancel();
        users.join_all().await;
        assert_eq!(database.execute(WRONG).await.unwrap(), "0|0|t");
    }
}
