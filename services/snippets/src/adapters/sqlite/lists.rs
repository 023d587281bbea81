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
use parking_lot::Mutex;
use sqlx::{
    Error, Row as _, Sqlite,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How many counts are copied at a time.
const COPIES_MAX: i64 = 1_000;

/// A page: the entries of a scope that come after a place in an order, with the views by which they are ordered, and what is
/// known of their snippets.
macro_rules! page {
    ($views:literal, $scope:literal, $place:literal, $order:literal) => {
        concat!(
            "select snippet.*, ",
            $views,
            " as listed_views
            from list_entries as entry cross join (
                select ",
            metadata!(),
            "
                from snippets
                where ",
            alive!(),
            "
                    and (expire_time is null or expire_time > 1000000 * unixepoch('now', 'subsec'))
            ) as snippet on snippet.id = entry.id
            where entry.tag = ?1 and entry.language = ?2 and ",
            $scope,
            " and ",
            $place,
            " order by ",
            $order,
            " limit ?6"
        )
    };
}
// By time, no views are read: another index would have them at hand, in the wrong order.
macro_rules! newest {
    ($scope:literal) => {
        page!(
            "0",
            $scope,
            "(entry.create_time, entry.id) < (?4, ?5)",
            "entry.create_time desc, entry.id desc"
        )
    };
}
macro_rules! most_viewed {
    ($scope:literal) => {
        page!(
            "entry.views",
            $scope,
            "(entry.views, entry.create_time, entry.id) < (?3, ?4, ?5)",
            "entry.views desc, entry.create_time desc, entry.id desc"
        )
    };
}
const PUBLIC_NEWEST: &str = newest!("entry.visibility = 1");
const PUBLIC_MOST_VIEWED: &str = most_viewed!("entry.visibility = 1");
const OWN_NEWEST: &str = newest!("entry.owner = ?7 and entry.visibility = coalesce(?8, entry.visibility)");
const OWN_MOST_VIEWED: &str =
    most_viewed!("entry.owner = ?7 and entry.visibility = coalesce(?8, entry.visibility)");

const COUNTED: &str = "select max(snippet_id) as done_to, count(*) as counted
    from (select snippet_id from views.totals where snippet_id > ?1 order by snippet_id limit ?2)";
const COPY: &str = "update list_entries set views = totals.views from views.totals as totals
    where totals.snippet_id > ?1 and totals.snippet_id <= ?2
        and list_entries.id = totals.snippet_id and list_entries.views <> totals.views";

/// Lists from the table `list_entries`.
#[derive(Debug, Clone)]
pub struct SqliteSnippetLists {
    database: Database,
    /// How far counts were copied. The file has no other writer, so that there is nobody to share it with.
    copied: Arc<Mutex<Progress>>,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    /// The snippet that was the last; empty when all were copied.
    done_to: String,
    /// When all were.
    ended_at: Option<Instant>,
}

impl SqliteSnippetLists {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self { database, copied: Arc::default() }
    }

    /// Copies what comes after a snippet, and gives the last one, unless there was nothing more.
    async fn copy(&self, done_to: String) -> Result<Option<String>, Error> {
        let query = sqlx::query(COUNTED).bind(done_to.clone()).bind(COPIES_MAX);
        let row = match self.database.fetch_optional(query).await {
            // The worker has not made its table yet, so nobody has counted anything.
            Err(error) if is_missing_table(&error) => None,
            row => row?,
        };
        let Some(row) = row else { return Ok(None) };
        let Some(last) = row.try_get::<Option<String>, _>("done_to")? else { return Ok(None) };
        self.database.fetch_all(sqlx::query(COPY).bind(done_to).bind(last.clone())).await?;
        let counted: i64 = row.try_get("counted")?;
        Ok(Some(last).filter(|_| counted == COPIES_MAX))
    }
}

#[async_trait]
impl SnippetLists for SqliteSnippetLists {
    async fn page(
        &self,
        list: &SnippetList,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let after = after.map_or_else(start_of_list, Ok).map_err(store_error)?;
        let rows = self.database.fetch_all(page(list, &after, limit)).await.map_err(store_error)?;
        rows.iter().map(to_listed).collect::<Result<_, _>>().map_err(store_error)
    }

    async fn copy_views(&self, interval: Duration) -> Result<CopiedViews, StoreError> {
        let Progress { done_to, ended_at } = self.copied.lock().clone();
        if done_to.is_empty() && ended_at.is_some_and(|ended_at| ended_at.elapsed() < interval) {
            return Ok(CopiedViews::NotDue);
        }
        let done_to = self.copy(done_to).await.map_err(store_error)?;
        let copied = if done_to.is_some() { CopiedViews::Some } else { CopiedViews::All };
        *self.copied.lock() =
            Progress { done_to: done_to.unwrap_or_default(), ended_at: Some(Instant::now()) };
        Ok(copied)
    }
}

fn page<'a>(
    list: &'a SnippetList,
    after: &'a ListPosition,
    limit: usize,
) -> Query<'a, Sqlite, SqliteArguments> {
    bind(sqlx::query(statement(list)), list, after, limit)
}

fn bind<'a>(
    query: Query<'a, Sqlite, SqliteArguments>,
    list: &'a SnippetList,
    after: &'a ListPosition,
    limit: usize,
) -> Query<'a, Sqlite, SqliteArguments> {
    let ListPosition { views, create_time, id } = after;
    let query = query
        .bind(list.tag.as_ref().map_or("", Tag::as_str).to_owned())
        .bind(list.language.as_str().to_owned())
        .bind(i64::try_from(*views).unwrap_or(i64::MAX))
        .bind(create_time.timestamp_micros())
        .bind(id.to_string())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    match list.scope {
        ListScope::Public => query,
        ListScope::Own { owner, visibility } => {
            query.bind(owner.to_string()).bind(visibility.map(from_visibility))
        }
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

fn to_listed(row: &SqliteRow) -> Result<Listed, Error> {
    Ok(Listed { metadata: to_metadata(row)?, views: views(row.try_get("listed_views")?)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountId, Language, Visibility};
    use sqlx::AssertSqlSafe;

    #[tokio::test]
    async fn every_list_is_a_range_of_an_index_in_its_order() {
        let data_dir = tempfile::tempdir().unwrap();
        let database = Database::open(data_dir.path()).await.unwrap();
        let owner = AccountId::generate();
        for (scope, scope_name, key) in [
            (ListScope::Public, "public", "tag=? AND language=?"),
            (ListScope::Own { owner, visibility: None }, "own", "owner=? AND tag=? AND language=?"),
            (
                ListScope::Own { owner, visibility: Some(Visibility::Private) },
                "own",
                "owner=? AND tag=? AND language=?",
            ),
        ] {
            for (order, order_name, place) in [
                (ListOrder::Newest, "newest", "(create_time,id)<(?,?)"),
                (ListOrder::MostViewed, "most_viewed", "(views,create_time,id)<(?,?,?)"),
            ] {
                let list = SnippetList { scope, language: Language::default(), tag: None, order };
                let explain = format!("explain query plan {}", statement(&list));
                let after = start_of_list().unwrap();
                let query = bind(sqlx::query(AssertSqlSafe(explain)), &list, &after, 51);
                let rows = database.fetch_all(query).await.unwrap();
                let plan: Vec<String> = rows.iter().map(|row| row.try_get("detail").unwrap()).collect();
                let index = format!("list_entries_{scope_name}_{order_name} ({key} AND {place})");
                assert!(plan[0].contains(&index), "{plan:?}");
                assert!(plan[1].contains("(id=?)") && plan.len() == 2, "{plan:?}");
            }
        }
    }
}
