use super::{
    super::sql::{self, alive, metadata, parsed},
    database::{Database, store_error},
};
use crate::{
    domain::{
        AccountId, Body, Language, MaxViews, Snippet, SnippetId, SnippetMetadata, SnippetPatch, Tags, Title,
        Version, to_micros,
    },
    ports::{
        CREATE_REQUEST_LIFETIME, ChangeError, CreateRequest, Found, InsertError, Inserted, SnippetStore,
        StoreError,
    },
};
use ::database::Transaction;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{
    Error, Postgres, Row as _,
    postgres::{PgArguments, PgRow},
    query::Query,
};

macro_rules! columns {
    () => {
        concat!(metadata!(), ", body")
    };
}
const INSERT: &str = concat!(
    "insert into snippets.snippets (",
    columns!(),
    ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    on conflict (id) do nothing
    returning id"
);
const GET: &str = concat!("select ", columns!(), " from snippets.snippets where id = $1 and ", alive!());
// Beyond the room that there is for them, bodies stay where they are; their sizes are known without reading them.
const GET_MANY: &str = concat!(
    "select ",
    metadata!(),
    ", case when bytes <= $2 then (select body from snippets.snippets as whole where whole.id = found.id) end as body
    from (
        select ",
    metadata!(),
    ", sum(octet_length(body)) over (order by id) as bytes
        from snippets.snippets where id = any ($1) and ",
    alive!(),
    ") as found"
);
const UPDATE: &str = concat!(
    "update snippets.snippets set
        title = coalesce($3, title),
        language = coalesce($4, language),
        body = coalesce($5, body),
        tags = coalesce($6, tags),
        visibility = coalesce($7, visibility),
        expire_time = case when $8 then $9 else expire_time end,
        update_time = $10,
        version = version + 1
    where id = $1 and version = coalesce($2, version) and ",
    alive!(),
    " returning ",
    columns!()
);
const DELETE: &str =
    "delete from snippets.snippets where id = $1 and version = coalesce($2, version) returning version";
const EXISTS: &str = concat!("select 1 from snippets.snippets where id = $1 and ", alive!());
const CLAIM: &str = "update snippets.snippets set claimed_views = claimed_views + 1
    where id = $1 and version = $2 and claimed_views < max_views
    returning claimed_views = max_views as is_burnt";
// Waits for the same request, if it is under way. One of long ago makes place.
const CLAIM_REQUEST: &str =
    "insert into snippets.create_requests as request (caller, request_id, payload_hash, snippet_id, create_time)
    values ($1, $2, $3, $4, $5)
    on conflict (caller, request_id) do update set
        payload_hash = excluded.payload_hash,
        snippet_id = excluded.snippet_id,
        create_time = excluded.create_time
    where request.create_time <= $6
    returning request_id";
const FIND_REQUEST: &str = "select payload_hash, snippet_id from snippets.create_requests
    where caller = $1 and request_id = $2";

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

    /// Runs a statement that changes or removes what others may be shown; whatever becomes of it, it may have done so.
    async fn edit(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Option<PgRow>, StoreError> {
        let edited = self.0.fetch_optional(query).await;
        self.0.edited();
        edited.map_err(store_error)
    }

    async fn insert_once(&self, snippet: &Snippet, request: &CreateRequest) -> Result<Inserted, InsertError> {
        let mut transaction = self.0.begin().await.map_err(store_error)?;
        if let Some(before) = made_before(&mut transaction, snippet, request).await? {
            return Ok(Inserted::Before(before));
        }
        let inserted = transaction.fetch_all(insert(snippet)).await.map_err(store_error)?;
        if inserted.is_empty() {
            return Err(InsertError::IdTaken);
        }
        transaction.commit().await.map_err(store_error)?;
        Ok(Inserted::New)
    }
}

#[async_trait]
impl SnippetStore for PostgresSnippetStore {
    async fn insert(
        &self,
        snippet: &Snippet,
        request: Option<&CreateRequest>,
    ) -> Result<Inserted, InsertError> {
        if let Some(request) = request {
            return self.insert_once(snippet, request).await;
        }
        let inserted = self.0.fetch_optional(insert(snippet)).await.map_err(store_error)?;
        inserted.map(|_| Inserted::New).ok_or(InsertError::IdTaken)
    }

    async fn get(&self, id: &SnippetId) -> Result<Option<Snippet>, StoreError> {
        let row = self.0.fetch_optional(sqlx::query(GET).bind(id.as_str())).await.map_err(store_error)?;
        row.as_ref().map(to_snippet).transpose().map_err(store_error)
    }

    async fn get_many(&self, ids: &[SnippetId], body_bytes_max: usize) -> Result<Vec<Found>, StoreError> {
        let ids: Vec<_> = ids.iter().map(SnippetId::as_str).collect();
        let body_bytes_max = i64::try_from(body_bytes_max).unwrap_or(i64::MAX);
        let query = sqlx::query(GET_MANY).bind(ids).bind(body_bytes_max);
        let rows = self.0.fetch_all(query).await.map_err(store_error)?;
        rows.iter().map(to_found).collect::<Result<_, _>>().map_err(store_error)
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
            .bind(patch.expire_time.is_some())
            .bind(patch.expire_time.flatten())
            .bind(to_micros(now));
        match self.edit(query).await? {
            Some(row) => Ok(to_snippet(&row).map_err(store_error)?),
            None => Err(self.refusal(id, expected).await),
        }
    }

    async fn delete(&self, id: &SnippetId, expected: Option<Version>) -> Result<Version, ChangeError> {
        let query = sqlx::query(DELETE).bind(id.as_str()).bind(expected.map(Version::get));
        match self.edit(query).await? {
            Some(row) => Ok(row.try_get("version").map(Version::new).map_err(store_error)?),
            None => Err(self.refusal(id, expected).await),
        }
    }

    async fn claim_view(&self, id: &SnippetId, version: Version) -> Result<bool, StoreError> {
        let query = sqlx::query(CLAIM).bind(id.as_str()).bind(version.get());
        let Some(row) = self.0.fetch_optional(query).await.map_err(store_error)? else { return Ok(false) };
        if row.try_get("is_burnt").map_err(store_error)? {
            self.0.edited();
        }
        Ok(true)
    }
}

fn insert(snippet: &Snippet) -> Query<'_, Postgres, PgArguments> {
    let Snippet { metadata, body } = snippet;
    sqlx::query(INSERT)
        .bind(metadata.id.as_str())
        .bind(metadata.title.as_str())
        .bind(metadata.language.as_str())
        .bind(texts(&metadata.tags))
        .bind(sql::from_visibility(metadata.visibility))
        .bind(metadata.owner.map(|owner| owner.0))
        .bind(metadata.create_time)
        .bind(metadata.update_time)
        .bind(metadata.expire_time)
        .bind(metadata.max_views.map(MaxViews::get))
        .bind(metadata.version.get())
        .bind(body.as_str())
}

/// Notes that the request makes this snippet, unless it has made one before.
async fn made_before(
    transaction: &mut Transaction,
    snippet: &Snippet,
    request: &CreateRequest,
) -> Result<Option<SnippetId>, InsertError> {
    let create_time = snippet.metadata.create_time;
    let claim = sqlx::query(CLAIM_REQUEST)
        .bind(&request.caller)
        .bind(request.id)
        .bind(&request.payload_hash[..])
        .bind(snippet.metadata.id.as_str())
        .bind(create_time)
        .bind(create_time - CREATE_REQUEST_LIFETIME);
    if !transaction.fetch_all(claim).await.map_err(store_error)?.is_empty() {
        return Ok(None);
    }
    let find = sqlx::query(FIND_REQUEST).bind(&request.caller).bind(request.id);
    let found = transaction.fetch_all(find).await.map_err(store_error)?;
    let row = found.first().ok_or_else(|| store_error(Error::RowNotFound))?;
    let payload_hash: &[u8] = row.try_get("payload_hash").map_err(store_error)?;
    if payload_hash != request.payload_hash {
        return Err(InsertError::RequestReused);
    }
    let id = row.try_get("snippet_id").and_then(|id| parsed(SnippetId::parse(id)));
    Ok(Some(id.map_err(store_error)?))
}

fn texts(tags: &Tags) -> Vec<String> {
    tags.iter().map(str::to_owned).collect()
}

fn to_snippet(row: &PgRow) -> Result<Snippet, Error> {
    Ok(Snippet { metadata: to_metadata(row)?, body: parsed(Body::parse(row.try_get::<&str, _>("body")?))? })
}

fn to_found(row: &PgRow) -> Result<Found, Error> {
    let body = row.try_get::<Option<&str>, _>("body")?;
    Ok(Found { metadata: to_metadata(row)?, body: body.map(|body| parsed(Body::parse(body))).transpose()? })
}

pub(super) fn to_metadata(row: &PgRow) -> Result<SnippetMetadata, Error> {
    Ok(SnippetMetadata {
        id: parsed(SnippetId::parse(row.try_get("id")?))?,
        title: parsed(Title::parse(row.try_get::<&str, _>("title")?))?,
        language: parsed(Language::parse(row.try_get::<&str, _>("language")?))?,
        tags: parsed(Tags::parse(row.try_get("tags")?))?,
        visibility: sql::to_visibility(row.try_get("visibility")?)?,
        owner: row.try_get::<Option<_>, _>("owner")?.map(AccountId),
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
        expire_time: row.try_get("expire_time")?,
        max_views: sql::to_max_views(row.try_get("max_views")?)?,
        version: Version::new(row.try_get("version")?),
    })
}
