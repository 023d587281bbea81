//! Times, which SQLite has no type for.

use super::super::sql::corrupt;
use chrono::{DateTime, Utc};
use sqlx::{Error, Row as _, sqlite::SqliteRow};

/// The time in a column of microseconds.
pub(super) fn time(row: &SqliteRow, column: &str) -> Result<DateTime<Utc>, Error> {
    optional_time(row, column)?.ok_or_else(|| corrupt("a time is missing"))
}

/// The time in a column of microseconds that may be null.
pub(super) fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<DateTime<Utc>>, Error> {
    let micros: Option<i64> = row.try_get(column)?;
    micros
        .map(|micros| {
            DateTime::from_timestamp_micros(micros).ok_or_else(|| corrupt("a time is out of range"))
        })
        .transpose()
}
