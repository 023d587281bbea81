use super::{
    database::{Database, store_error},
    views::is_missing_table,
};
use crate::{
    adapters::sql::{corrupt, views},
    domain::{Granularity, SnippetId, StatsRange, ViewStats, from_unix},
    ports::{StoreError, ViewHistory},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Error, Row as _, sqlite::SqliteRow};

// Times are seconds since 1970.
const HOURLY: &str = "select start_time, views from views.hourly
    where snippet_id = ?1 and start_time >= ?2 and start_time < ?3";
const DAILY: &str = "select start_time, views from views.daily
    where snippet_id = ?1 and start_time >= ?2 and start_time < ?3";

/// The tables `hourly` and `daily` of the attached `views.db`, which the counter worker writes.
#[derive(Debug, Clone)]
pub struct SqliteViewHistory(Database);

impl SqliteViewHistory {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl ViewHistory for SqliteViewHistory {
    async fn stats(&self, id: &SnippetId, range: StatsRange) -> Result<ViewStats, StoreError> {
        let (start, end) = (range.start().timestamp(), range.end().timestamp());
        let query = sqlx::query(sql(range.granularity())).bind(id.as_str().to_owned()).bind(start).bind(end);
        let rows = match self.0.fetch_all(query).await {
            // The worker has not made its tables yet, so nobody has counted anything.
            Err(error) if is_missing_table(&error) => Vec::new(),
            rows => rows.map_err(store_error)?,
        };
        let counted: Vec<_> = rows.iter().map(to_bucket).collect::<Result<_, _>>().map_err(store_error)?;
        Ok(ViewStats::of(range, counted))
    }
}

fn sql(granularity: Granularity) -> &'static str {
    match granularity {
        Granularity::Hour => HOURLY,
        Granularity::Day => DAILY,
    }
}

fn to_bucket(row: &SqliteRow) -> Result<(DateTime<Utc>, u64), Error> {
    let start = from_unix(row.try_get("start_time")?, 0).ok_or_else(|| corrupt("a bucket of no time"))?;
    Ok((start, views(row.try_get("views")?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

    const WORKERS_SCHEMA: &str = concat!(
        include_str!("../../../../counter-worker/migrations/sqlite/0001_totals.sql"),
        include_str!("../../../../counter-worker/migrations/sqlite/0002_rollups.sql"),
    );

    #[tokio::test]
    async fn only_the_rows_that_are_asked_for_are_read() {
        let data_dir = tempfile::tempdir().unwrap();
        let views =
            SqliteConnectOptions::new().filename(data_dir.path().join("views.db")).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&views).await.unwrap();
        sqlx::raw_sql(WORKERS_SCHEMA).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let database = Database::open(data_dir.path()).await.unwrap();
        for (table, granularity) in [("hourly", Granularity::Hour), ("daily", Granularity::Day)] {
            let explain = format!("explain query plan {}", sql(granularity));
            let query = sqlx::query(sqlx::AssertSqlSafe(explain)).bind("00000000000").bind(0_i64).bind(1_i64);
            let rows = database.fetch_all(query).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
            let expected = format!(
                "SEARCH views.{table} USING PRIMARY KEY (snippet_id=? AND start_time>? AND start_time<?)"
            );
            assert_eq!(plan, [expected]);
        }
    }
}
