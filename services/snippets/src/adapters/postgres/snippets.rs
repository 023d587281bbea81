use super::{
    super::sql::{self, parsed},
    database::{Database, store_error},
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
use sqlx::{Error, Row as _, postgres::PgRow};

const INSERT: &str = "insert into snippets.snippets
    (id, title, language, body, tags, visibility, owner, create_time, update_time, version)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    on conflict (id) do nothing
    returning id";
const GET: &str =
    "select id, title, language, body, tags, visibility, owner, create_time, update_time, version
    from snippets.snippets where id = $1";
const UPDATE: &str = "update snippets.snippets set
        title = coalesce($3, title),
        language = coalesce($4, language),
        body = coalesce($5, body),
        tags = coalesce($6, tags),
        visibility = coalesce($7, visibility),
        update_time = $8,
        version = version + 1
    where id = $1 and version = coalesce($2, version)
    returning id, title, language, body, tags, visibility, owner, create_time, update_time, version";
const DELETE: &str =
    "delete from snippets.snippets where id = $1 and version = coalesce($2, version) returning version";
const EXISTS: &str = "select 1 from snippets.snippets where id = $1";

/// Snippets in the table `snippets.snippets`.
#[derive(Debug, Clone)]
pub struct PostgresSnippetStore(Database);

impl PostgresSnippetStore {
    /// Over this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// Why a change found no row: it was not there, or not in that version.
    async fn refusal(&self, id: &SnippetId, expected: Option<Version>) -> ChangeError {
        if expected.is_none() {
            return ChangeError::NotFound;
        }
        match self.0.fetch_optional(sqlx::query(EXISTS).bind(id.as_str())).await {
            Ok(Some(_)) => ChangeError::VersionMismatch,
            Ok(None) => ChangeError::NotFound,
            Err(error) => ChangeError::Store(store_error(error)),
        }
    }
}

#[async_trait]
impl SnippetStore for PostgresSnippetStore {
    async fn insert(&self, snippet: &Snippet) -> Result<(), InsertError> {
        let query = sqlx::query(INSERT)
            .bind(snippet.metadata.id.as_str())
            .bind(snippet.metadata.title.as_str())
            .bind(snippet.metadata.language.as_str())
            .bind(snippet.body.as_str())
            .bind(texts(&snippet.metadata.tags))
            .bind(sql::from_visibility(snippet.metadata.visibility))
            .bind(snippet.metadata.owner.map(|owner| owner.0))
            .bind(snippet.metadata.create_time)
            .bind(snippet.metadata.update_time)
            .bind(snippet.metadata.version.get());
        let inserted = self.0.fetch_optional(query).await.map_err(store_error)?;
        inserted.map(drop).ok_or(InsertError::IdTaken)
    }

    async fn get(&self, id: &SnippetId) -> Result<Option<Snippet>, StoreError> {
        let row = self.0.fetch_optional(sqlx::query(GET).bind(id.as_str())).await.map_err(store_error)?;
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
            .bind(id.as_str())
            .bind(expected.map(Version::get))
            .bind(patch.title.as_ref().map(Title::as_str))
            .bind(patch.language.as_ref().map(Language::as_str))
            .bind(patch.body.as_ref().map(Body::as_str))
            .bind(patch.tags.as_ref().map(texts))
            .bind(patch.visibility.map(sql::from_visibility))
            .bind(to_micros(now));
        match self.0.fetch_optional(query).await.map_err(store_error)? {
            Some(row) => Ok(to_snippet(&row).map_err(store_error)?),
            None => Err(self.refusal(id, expected).await),
        }
    }

    async fn delete(&self, id: &SnippetId, expected: Option<Version>) -> Result<Version, ChangeError> {
        let query = sqlx::query(DELETE).bind(id.as_str()).bind(expected.map(Version::get));
        match self.0.fetch_optional(query).await.map_err(store_error)? {
            Some(row) => Ok(row.try_get("version").map(Version::new).map_err(store_error)?),
            None => Err(self.refusal(id, expected).await),
        }
    }
}

fn texts(tags: &Tags) -> Vec<String> {
    tags.iter().map(str::to_owned).collect()
}

fn to_snippet(row: &PgRow) -> Result<Snippet, Error> {
    let metadata = SnippetMetadata {
        id: parsed(SnippetId::parse(row.try_get("id")?))?,
        title: parsed(Title::parse(row.try_get::<&str, _>("title")?))?,
        language: parsed(Language::parse(row.try_get::<&str, _>("language")?))?,
        tags: parsed(Tags::parse(row.try_get("tags")?))?,
        visibility: sql::to_visibility(row.try_get("visibility")?)?,
        owner: row.try_get::<Option<_>, _>("owner")?.map(AccountId),
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
        version: Version::new(row.try_get("version")?),
    };
    Ok(Snippet { metadata, body: parsed(Body::parse(row.try_get::<&str, _>("body")?))? })
}
