use super::{
    database::{Database, store_error},
    views::is_missing_table,
};
use crate::{
    adapters::sql::views,
    domain::{Granularity, SnippetId, StatsRange, ViewStats},
    ports::{StoreError, ViewHistory},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Error, Row as _, postgres::PgRow};

const HOURLY: &str = "select start_time, views from views.hourly where snippet_id = $1 and start_time >= $2 and start_time < $3";
const DAILY: &str = "select start_time, views from views.daily where snippet_id = $1 and start_time >= $2 and start_time < $3";

/// What `views.hourly` and `views.daily` show, which the counter worker writes.
#[derive(Debug, Clone)]
pub struct PostgresViewHistory(Database);

impl PostgresViewHistory {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl ViewHistory for PostgresViewHistory {
    async fn stats(&self, id: &SnippetId, range: StatsRange) -> Result<ViewStats, StoreError> {
        let query =
            || sqlx::query(sql(range.granularity())).bind(id.as_str()).bind(range.start()).bind(range.end());
        let rows = match self.0.read_counted(query).await {
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

fn to_bucket(row: &PgRow) -> Result<(DateTime<Utc>, u64), Error> {
    Ok((row.try_get("start_time")?, views(row.try_get("views")?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::postgres::{Options, workers_schema};

    /// 200 snippets with 500 hours each.
    const FILL: &str = "insert into {table} select lpad(snippet::text, 11, '0'),
            timestamptz '2026-01-01Z' + hour * interval '1 hour', 1
        from generate_series(1, 500) as hour, generate_series(1, 200) as snippet;
        analyze {table}";

    #[tokio::test]
    async fn only_the_rows_that_are_asked_for_are_read() {
        let database = stack::shared().database().await;
        workers_schema::create(&database).await;
        let pool = Database::new(&Options::new(database.url().into())).unwrap();
        let id = SnippetId::parse("00000000100").unwrap();
        let [start, end] = ["2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z"];
        let [start, end]: [DateTime<Utc>; 2] = [start, end].map(|time| time.parse().unwrap());
        for (table, key, granularity) in [
            ("views.hourly_by_stripe", "hourly_by_stripe_pkey", Granularity::Hour),
            ("views.daily_by_stripe", "daily_by_stripe_pkey", Granularity::Day),
        ] {
            database.execute(&FILL.replace("{table}", table)).await.unwrap();
            let explain = format!("explain {}", sql(granularity));
            let query = sqlx::query(sqlx::AssertSqlSafe(explain)).bind(id.as_str()).bind(start).bind(end);
            let rows = pool.fetch_all(query).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
            let plan = plan.join("\n");
            assert!(plan.contains(key) && !plan.contains("Seq Scan"), "{plan}");
            let condition = plan.lines().find(|line| line.contains("Index Cond")).unwrap_or_default();
            assert!(condition.contains("snippet_id") && condition.contains("start_time <"), "{plan}");
        }
    }
}
