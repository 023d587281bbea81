//! What the two databases have in common.

use crate::{
    domain::{ListPosition, MaxViews, PageTokenKey, SnippetId, Tier, Violations, Visibility},
    ports::StoreError,
};
use chrono::DateTime;
use sqlx::{Error, error::DatabaseError};
use std::io::ErrorKind;

/// The columns of what is known of a snippet.
macro_rules! metadata {
    () => {
        "id, title, language, tags, visibility, owner, create_time, update_time, expire_time, max_views, version"
    };
}
/// Of a snippet that has a view left.
macro_rules! alive {
    () => {
        "(max_views is null or claimed_views < max_views)"
    };
}
pub(super) use {alive, metadata};

/// The number of a visibility, as in the proto.
pub(super) fn from_visibility(visibility: Visibility) -> i16 {
    match visibility {
        Visibility::Public => 1,
        Visibility::Unlisted => 2,
        Visibility::Private => 3,
    }
}

/// The visibility with this number.
pub(super) fn to_visibility(number: i16) -> Result<Visibility, Error> {
    match number {
        1 => Ok(Visibility::Public),
        2 => Ok(Visibility::Unlisted),
        3 => Ok(Visibility::Private),
        _ => Err(corrupt(format!("unknown visibility {number}"))),
    }
}

/// The limit of views in a column that is null if there is none.
pub(super) fn to_max_views(number: Option<i64>) -> Result<Option<MaxViews>, Error> {
    let limit = number.map(|views| MaxViews::new(views).ok_or_else(|| corrupt("a limit of no views")));
    limit.transpose()
}

/// The number of a tier, as in the proto.
pub(super) fn from_tier(tier: Tier) -> i16 {
    match tier {
        Tier::Free => 1,
        Tier::Premium => 2,
        Tier::Admin => 3,
    }
}

/// The tier with this number.
pub(super) fn to_tier(number: i16) -> Result<Tier, Error> {
    match number {
        1 => Ok(Tier::Free),
        2 => Ok(Tier::Premium),
        3 => Ok(Tier::Admin),
        _ => Err(corrupt(format!("unknown tier {number}"))),
    }
}

/// A row is an edge like any other: what it holds is parsed, and what does not parse is corrupt.
pub(super) fn parsed<T>(value: Result<T, impl Into<Violations>>) -> Result<T, Error> {
    value.map_err(|wrong| Error::Decode(Box::new(wrong.into())))
}

/// A row that holds what no row may.
pub(super) fn corrupt(what: impl Into<String>) -> Error {
    Error::Decode(what.into().into())
}

/// A column of views.
pub(super) fn views(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| corrupt("a negative number of views"))
}

/// The key in the column, and the row, that the migration has made.
pub(super) fn page_token_key(key: Option<&[u8]>) -> Result<PageTokenKey, Error> {
    let key = key.ok_or_else(|| corrupt("the key of page tokens is missing"))?;
    PageTokenKey::new(key).ok_or_else(|| corrupt("the key of page tokens has a wrong length"))
}

/// The number of rows that a statement gives at most.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Before everything in a list: no views are more, no time is later, and no id that is ever generated is greater.
pub(super) fn start_of_list() -> Result<ListPosition, Error> {
    let create_time = DateTime::from_timestamp(253_402_300_799, 0).ok_or_else(|| corrupt("no such time"))?;
    Ok(ListPosition { views: u64::MAX, create_time, id: parsed(SnippetId::parse("zzzzzzzzzzz"))? })
}

/// Sorts what went wrong; `classify_database` knows the database's own codes.
pub(super) fn classify(
    error: Error,
    classify_database: impl FnOnce(&dyn DatabaseError) -> Failure,
) -> StoreError {
    let failure = match &error {
        Error::PoolTimedOut | Error::PoolClosed => Failure::Unavailable,
        Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => Failure::Unavailable,
        Error::Io(_) | Error::Tls(_) | Error::WorkerCrashed => Failure::Indeterminate,
        Error::Database(database) => classify_database(&**database),
        _ => Failure::Internal,
    };
    match failure {
        Failure::Unavailable => StoreError::Unavailable(Box::new(error)),
        Failure::Indeterminate => StoreError::Indeterminate(Box::new(error)),
        Failure::Internal => StoreError::Internal(Box::new(error)),
    }
}

/// The kinds of [`StoreError`].
pub(super) enum Failure {
    Unavailable,
    Indeterminate,
    Internal,
}
