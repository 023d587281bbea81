use super::{
    super::sql::{alive, from_visibility, metadata, start_of_list, views},
    database::{Database, store_error},
    snippets::to_metadata,
    views::is_missing_table,
};
use crate::{
    domain::{ListOrder, ListPosition, ListScope, Listed, SnippetList, Tag},
    ports::{CopiedViews, SnippetLists, StoreError},
};
use async_trait::async_trait;
use sqlx::{
    Error, Postgres, Row as _,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use std::time::Duration;

/// How many counts are copied at a time.
const COPIES_MAX: i64 = 1_000;
/// How long others keep away from a replica's turn to copy, should it not end it.
const TURN_SECONDS: f64 = 5.0;

/// A page: the entries of a scope that come after a place in an order, with the views by which they are ordered, and what is
/// known of their snippets.
macro_rules! page {
    ($views:literal, $scope:literal, $place:literal, $order:literal) => {
        concat!(
            "select snippet.*, ",
            $views,
            " as listed_views
            from snippets.list_entries as entry, lateral (
                select ",
            metadata!(),
            "
                from snippets.snippets where id = entry.id
                    and ",
            alive!(),
            "
                    and (expire_time is null or expire_time > now())
            ) as snippet
            where entry.tag = $1 and entry.language = $2 and ",
            $scope,
            " and ",
            $place,
            " order by ",
            $order,
            " limit $6"
        )
    };
}
// By time, no views are read: another index would have them at hand, in the wrong order.
macro_rules! newest {
    ($scope:literal) => {
        page!(
            "0::bigint",
            $scope,
            "(entry.create_time, entry.id) < ($4, $5)",
            "entry.create_time desc, entry.id desc"
        )
    };
}
macro_rules! most_viewed {
    ($scope:literal) => {
        page!(
            "entry.views",
            $scope,
            "(entry.views, entry.create_time, entry.id) < ($3, $4, $5)",
            "entry.views desc, entry.create_time desc, entry.id desc"
        )
    };
}
const PUBLIC_NEWEST: &str = newest!("entry.visibility = 1");
const PUBLIC_MOST_VIEWED: &str = most_viewed!("entry.visibility = 1");
const OWN_NEWEST: &str = newest!("entry.owner = $7 and entry.visibility = coalesce($8, entry.visibility)");
const OWN_MOST_VIEWED: &str =
    most_viewed!("entry.owner = $7 and entry.visibility = coalesce($8, entry.visibility)");

const TAKE_TURN: &str = "update snippets.list_counts set due = now() + $1 * interval '1 second'
    where due <= now()
    returning done_to";
// What a writer has locked is left to the next round: waiting for it, this could wait for each other.
const COPY: &str = "with counted as materialized (
        select snippet_id, views from views.totals where snippet_id > $1 order by snippet_id limit $2
    ), outdated as (
        select entry.ctid, counted.views from counted, lateral (
            select ctid from snippets.list_entries where id = counted.snippet_id and views <> counted.views
            for update skip locked
        ) as entry
    ), copied as (
        update snippets.list_entries as entry set views = outdated.views from outdated
        where entry.ctid = outdated.ctid
    )
    select max(snippet_id) as done_to from counted having count(*) = $2";
const END_TURN: &str = "update snippets.list_counts set done_to = $1, due = now() + $2 * interval '1 second'";

/// Lists from the table `snippets.list_entries`.
#[derive(Debug, Clone)]
pub struct PostgresSnippetLists(Database);

impl PostgresSnippetLists {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// Copies what comes after a snippet, and gives the last one, unless there was nothing more.
    async fn copy(&self, done_to: &str) -> Result<Option<String>, Error> {
        let query = sqlx::query(COPY).bind(done_to).bind(COPIES_MAX);
        let row = match self.0.fetch_optional(query).await {
            // The worker has not made its schema yet, so nobody has counted anything.
            Err(error) if is_missing_table(&error) => None,
            row => row?,
        };
        row.map(|row| row.try_get("done_to")).transpose()
    }

    async fn take_turn(&self) -> Result<Option<String>, Error> {
        let turn = self.0.fetch_optional(sqlx::query(TAKE_TURN).bind(TURN_SECONDS)).await?;
        turn.map(|row| row.try_get("done_to")).transpose()
    }
}

#[async_trait]
impl SnippetLists for PostgresSnippetLists {
    async fn page(
        &self,
        list: &SnippetList,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let after = after.map_or_else(start_of_list, Ok).map_err(store_error)?;
        let query = || page(list, &after, limit);
        let rows = match list.scope {
            ListScope::Public => self.0.read_edited(query).await,
            // Who has just created a snippet looks for it there.
            ListScope::Own { .. } => self.0.fetch_all(query()).await,
        };
        let rows = rows.map_err(store_error)?;
        rows.iter().map(to_listed).collect::<Result<_, _>>().map_err(store_error)
    }

    async fn copy_views(&self, interval: Duration) -> Result<CopiedViews, StoreError> {
        let Some(done_to) = self.take_turn().await.map_err(store_error)? else {
            return Ok(CopiedViews::NotDue);
        };
        let done_to = self.copy(&done_to).await.map_err(store_error)?;
        let pause = if done_to.is_some() { Duration::ZERO } else { interval };
        let end =
            sqlx::query(END_TURN).bind(done_to.as_deref().unwrap_or_default()).bind(pause.as_secs_f64());
        self.0.fetch_all(end).await.map_err(store_error)?;
        Ok(if done_to.is_some() { CopiedViews::Some } else { CopiedViews::All })
    }
}

fn page<'a>(
    list: &'a SnippetList,
    after: &'a ListPosition,
    limit: usize,
) -> Query<'a, Postgres, PgArguments> {
    bind(sqlx::query(statement(list)), list, after, limit)
}

fn bind<'a>(
    query: Query<'a, Postgres, PgArguments>,
    list: &'a SnippetList,
    after: &'a ListPosition,
    limit: usize,
) -> Query<'a, Postgres, PgArguments> {
    let ListPosition { views, create_time, id } = after;
    let query = query
        .bind(list.tag.as_ref().map_or("", Tag::as_str))
        .bind(list.language.as_str())
        .bind(i64::try_from(*views).unwrap_or(i64::MAX))
        .bind(*create_time)
        .bind(id.as_str())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    match list.scope {
        ListScope::Public => query,
        ListScope::Own { owner, visibility } => query.bind(owner.0).bind(visibility.map(from_visibility)),
    }
}

fn statement(list: &SnippetList) -> &'static str {
    match (list.scope, list.order) {
        (ListScope::Public, ListOrder::Newest) => PUBLIC_NEWEST,
        (ListScope::Public, ListOrder::MostViewed) => PUBLIC_MOST_VIEWED,
        (ListScope::Own { .. }, ListOrder::Newest) => OWN_NEWEST,
        (ListScope::Own { .. }, ListOrder::MostViewed) => OWN_MOST_VIEWED,
    }
}

fn to_listed(row: &PgRow) -> Result<Listed, Error> {
    Ok(Listed { metadata: to_metadata(row)?, views: views(row.try_get("listed_views")?)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::sql::parsed;
    use crate::{
        adapters::postgres::{Options, migrate, workers_schema},
        domain::{AccountId, Language, Visibility},
    };
    use sqlx::AssertSqlSafe;
    use uuid::Uuid;

    const OWNER: Uuid = Uuid::from_u128(1);
    /// 20,000 snippets of 20 accounts and of nobody, most of them public, nearly all of one language and with one tag.
    const FILL: &str = "
        insert into snippets.accounts select lpad(to_hex(account), 32, '0')::uuid, '', 1, false, now()
        from generate_series(1, 20) as account;
        insert into snippets.snippets
            (id, title, language, body, tags, visibility, owner, create_time, update_time, version)
        select lpad(n::text, 11, '0'), '', case when n % 1000 = 0 then 'rare' else 'frequent' end, repeat('x', 500),
            case when n % 1000 < 2 then array['rare', 'frequent'] else array['frequent'] end, 1 + (n % 5 = 0)::int,
            case when n % 2 = 0 then lpad(to_hex(1 + n % 20), 32, '0')::uuid end, now() + n * interval '1 s', now(), 1
        from generate_series(1, 20000) as n;
        insert into views.totals_by_stripe (snippet_id, views)
        select lpad(n::text, 11, '0'), n % 777 from generate_series(1, 20000) as n;
        update snippets.list_entries set views = totals.views from views.totals where snippet_id = id;
        vacuum analyze snippets.list_entries; vacuum analyze snippets.snippets; vacuum analyze views.totals_by_stripe";

    async fn filled() -> (stack::Database, Database) {
        let database = stack::shared().database().await;
        migrate(&database.url().into()).await.unwrap();
        workers_schema::create(&database).await;
        for statement in FILL.split(';') {
            database.execute(statement).await.unwrap();
        }
        let pool = Database::new(&Options::new(database.url().into())).unwrap();
        (database, pool)
    }

    async fn explain(pool: &Database, list: &SnippetList, after: ListPosition) -> String {
        let explained = format!("explain {}", statement(list));
        let query = bind(sqlx::query(AssertSqlSafe(explained)), list, &after, 51);
        let rows = pool.fetch_all(query).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
        plan.join("\n")
    }

    #[tokio::test]
    async fn every_list_is_a_range_of_an_index_in_its_order() {
        let (_database, pool) = filled().await;
        let owner = AccountId(OWNER);
        let scopes = [
            (ListScope::Public, "public"),
            (ListScope::Own { owner, visibility: None }, "own"),
            (ListScope::Own { owner, visibility: Some(Visibility::Unlisted) }, "own"),
        ];
        let id = parsed(crate::domain::SnippetId::parse("00000010000")).unwrap();
        let middle = ListPosition { views: 388, create_time: crate::domain::now(), id };
        for (scope, scope_name) in scopes {
            for language in ["", "rare", "frequent", "unknown"] {
                for tag in ["", "rare", "frequent", "unknown"] {
                    for (order, order_name) in
                        [(ListOrder::Newest, "newest"), (ListOrder::MostViewed, "most_viewed")]
                    {
                        let tag = (!tag.is_empty()).then(|| Tag::parse("tag", tag.into()).unwrap());
                        let language = Language::parse(language).unwrap();
                        let list = SnippetList { scope, language, tag, order };
                        for after in [start_of_list().unwrap(), middle] {
                            let plan = explain(&pool, &list, after).await;
                            let index = format!("list_entries_{scope_name}_{order_name}");
                            assert!(plan.contains(&index), "{list:?}\n{plan}");
                            assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{list:?}\n{plan}");
                            let condition = plan.lines().find(|line| line.contains("Index Cond"));
                            assert!(condition.is_some_and(|it| it.contains("ROW(")), "{list:?}\n{plan}");
                        }
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_step_of_copying_reads_what_it_copies() {
        let (_database, pool) = filled().await;
        let query =
            sqlx::query(AssertSqlSafe(format!("explain {COPY}"))).bind("00000010000").bind(COPIES_MAX);
        let rows = pool.fetch_all(query).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
        let plan = plan.join("\n");
        let (read, _) = plan.split_once("CTE copied").unwrap();
        for index in ["totals_by_stripe_pkey", "list_entries_pkey"] {
            assert!(read.contains(index), "{plan}");
        }
        assert!(!read.contains("Seq Scan") && !read.contains("Sort"), "{plan}");
    }
}
