use super::{
    super::sql::{self, parsed},
    database::{Database, store_error},
    row,
};
use crate::{
    domain::{
        AccountId, Body, Language, Snippet, SnippetId, SnippetMetadata, SnippetPatch, Tags, Title, Version,
        to_micros,
    },
    ports::{ChangeError, InsertError, SnippetStore, StoreError},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Error, Row as _, sqlite::SqliteRow};

const INSERT: &str = "insert into snippets
    (id, title, language, body, tags, visibility, owner, create_time, update_time, version)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    on conflict (id) do nothing
    returning id";
const GET: &str =
    "select id, title, language, body, tags, visibility, owner, create_time, update_time, version
    from snippets where id = ?1";
const UPDATE: &str = "update snippets set
        title = coalesce(?3, title),
        language = coalesce(?4, language),
        body = coalesce(?5, body),
        tags = coalesce(?6, tags),
        visibility = coalesce(?7, visibility),
        update_time = ?8,
        version = version + 1
    where id = ?1 and version = coalesce(?2, version)
    returning id, title, language, body, tags, visibility, owner, create_time, update_time, version";
const DELETE: &str =
    "delete from snippets where id = ?1 and version = coalesce(?2, version) returning version";
const EXISTS: &str = "select 1 from snippets where id = ?1";

/// Snippets in the table `snippets`.
#[derive(Debug, Clone)]
pub struct SqliteSnippetStore(Database);

impl SqliteSnippetStore {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// Why a change found no row: it was not there, or not in that version.
    async fn refusal(&self, id: &SnippetId, expected: Option<Version>) -> ChangeError {
        if expected.is_none() {
            return ChangeError::NotFound;
        }
        match self.0.fetch_optional(sqlx::query(EXISTS).bind(id.to_string())).await {
            Ok(Some(_)) => ChangeError::VersionMismatch,
            Ok(None) => ChangeError::NotFound,
            Err(error) => ChangeError::Store(store_error(error)),
        }
    }
}

#[async_trait]
impl SnippetStore for SqliteSnippetStore {
    async fn insert(&self, snippet: &Snippet) -> Result<(), InsertError> {
        let query = sqlx::query(INSERT)
            .bind(snippet.metadata.id.to_string())
            .bind(snippet.metadata.title.as_str().to_owned())
            .bind(snippet.metadata.language.as_str().to_owned())
            .bind(snippet.body.as_str().to_owned())
            .bind(json(&snippet.metadata.tags))
            .bind(sql::from_visibility(snippet.metadata.visibility))
            .bind(snippet.metadata.owner.map(|owner| owner.to_string()))
            .bind(snippet.metadata.create_time.timestamp_micros())
            .bind(snippet.metadata.update_time.timestamp_micros())
            .bind(snippet.metadata.version.get());
        let inserted = self.0.fetch_optional(query).await.map_err(store_error)?;
        inserted.map(drop).ok_or(InsertError::IdTaken)
    }

    async fn get(&self, id: &SnippetId) -> Result<Option<Snippet>, StoreError> {
        let row = self.0.fetch_optional(sqlx::query(GET).bind(id.to_string())).await.map_err(store_error)?;
        row.as_ref().map(to_snippet).transpose().map_err(store_error)
    }

    async fn update(
        &self,
        id: &SnippetId,
        patch: &SnippetPatch,
        expected: Option<Version>,
        now: DateTime<Utc>,
    ) -> Result<Snippet, ChangeError> {
        let query = sqlx::query(UPDATE)
            .bind(id.to_string())
            .bind(expected.map(Version::get))
            .bind(patch.title.as_ref().map(|title| title.as_str().to_owned()))
            .bind(patch.language.as_ref().map(|language| language.as_str().to_owned()))
            .bind(patch.body.as_ref().map(|body| body.as_str().to_owned()))
            .bind(patch.tags.as_ref().map(json))
            .bind(patch.visibility.map(sql::from_visibility))
            .bind(to_micros(now).timestamp_micros());
        match self.0.fetch_optional(query).await.map_err(store_error)? {
            Some(row) => Ok(to_snippet(&row).map_err(store_error)?),
            None => Err(self.refusal(id, expected).await),
        }
    }

    async fn delete(&self, id: &SnippetId, expected: Option<Version>) -> Result<Version, ChangeError> {
        let query = sqlx::query(DELETE).bind(id.to_string()).bind(expected.map(Version::get));
        match self.0.fetch_optional(query).await.map_err(store_error)? {
            Some(row) => Ok(row.try_get("version").map(Version::new).map_err(store_error)?),
            None => Err(self.refusal(id, expected).await),
        }
    }
}

fn json(tags: &Tags) -> String {
    tags.iter().collect::<serde_json::Value>().to_string()
}

fn to_snippet(row: &SqliteRow) -> Result<Snippet, Error> {
    let tags = serde_json::from_str(row.try_get("tags")?).map_err(|error| Error::Decode(error.into()))?;
    let metadata = SnippetMetadata {
        id: parsed(SnippetId::parse(row.try_get("id")?))?,
        title: parsed(Title::parse(row.try_get::<&str, _>("title")?))?,
        language: parsed(Language::parse(row.try_get::<&str, _>("language")?))?,
        tags: parsed(Tags::parse(tags))?,
        visibility: sql::to_visibility(row.try_get("visibility")?)?,
        owner: row.try_get::<Option<&str>, _>("owner")?.map(|id| parsed(AccountId::parse(id))).transpose()?,
        create_time: row::time(row, "create_time")?,
        update_time: row::time(row, "update_time")?,
        version: Version::new(row.try_get("version")?),
    };
    Ok(Snippet { metadata, body: parsed(Body::parse(row.try_get::<&str, _>("body")?))? })
}
