//! How an entry is written: a header that the scripts read, then the snippet as protobuf.

use crate::{
    domain::{
        AccountId, Body, Language, Snippet, SnippetId, SnippetMetadata, Tags, Title, Version, Violations,
        Visibility,
    },
    ports::{CacheEntry, CacheError, Cause},
};
use chrono::{DateTime, Utc};
use prost::Message;
use uuid::Uuid;

const COPY: u8 = b'V';
const TOMBSTONE: u8 = b'T';
/// A letter and the 19 decimal digits of any `i64`.
const HEADER_BYTES: usize = 20;

/// A change that old replicas can't read belongs under another key prefix.
#[derive(Message)]
struct Copy {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    language: String,
    #[prost(string, tag = "3")]
    body: String,
    #[prost(string, repeated, tag = "4")]
    tags: Vec<String>,
    #[prost(bool, tag = "5")]
    public: bool,
    #[prost(bytes, optional, tag = "6")]
    owner: Option<Vec<u8>>,
    #[prost(int64, tag = "7")]
    create_time_micros: i64,
    #[prost(int64, tag = "8")]
    update_time_micros: i64,
    #[prost(int64, optional, tag = "9")]
    expire_time_micros: Option<i64>,
    /// 0 in what older replicas have stored.
    #[prost(int64, tag = "10")]
    stored_time_micros: i64,
}

/// The entry of a snippet, which is public or unlisted and has no limit of views: others are never cached.
pub(super) fn copy(snippet: &Snippet, stored: DateTime<Utc>) -> Vec<u8> {
    let copy = Copy {
        title: snippet.metadata.title.as_str().to_owned(),
        language: snippet.metadata.language.as_str().to_owned(),
        body: snippet.body.as_str().to_owned(),
        tags: snippet.metadata.tags.iter().map(str::to_owned).collect(),
        public: snippet.metadata.visibility == Visibility::Public,
        owner: snippet.metadata.owner.map(|owner| owner.0.as_bytes().to_vec()),
        create_time_micros: snippet.metadata.create_time.timestamp_micros(),
        update_time_micros: snippet.metadata.update_time.timestamp_micros(),
        expire_time_micros: snippet.metadata.expire_time.map(|time| time.timestamp_micros()),
        stored_time_micros: stored.timestamp_micros(),
    };
    let mut entry = header(COPY, snippet.metadata.version);
    entry.reserve_exact(copy.encoded_len());
    copy.encode_raw(&mut entry);
    entry
}

/// The entry that keeps copies older than `version` away.
pub(super) fn tombstone(version: Version) -> Vec<u8> {
    header(TOMBSTONE, version)
}

/// Reads the entry of `id`. A copy is none if `trusted` says so of the time at which it was stored.
pub(super) fn decode(
    id: SnippetId,
    entry: &[u8],
    trusted: impl FnOnce(DateTime<Utc>) -> bool,
) -> Result<CacheEntry, CacheError> {
    let (header, body) = entry.split_at_checked(HEADER_BYTES).ok_or_else(|| corrupt("no header"))?;
    match header[0] {
        TOMBSTONE => Ok(CacheEntry::Tombstone),
        COPY => {
            let digits = str::from_utf8(&header[1..]).map_err(corrupt)?;
            let version = Version::new(digits.parse().map_err(corrupt)?);
            let copy = Copy::decode(body).map_err(corrupt)?;
            if !trusted(time(copy.stored_time_micros)?) {
                return Ok(CacheEntry::Miss);
            }
            Ok(CacheEntry::Hit(Box::new(snippet(id, version, copy)?)))
        }
        _ => Err(corrupt("unknown kind of entry")),
    }
}

fn header(kind: u8, version: Version) -> Vec<u8> {
    let mut header = vec![kind];
    header.extend_from_slice(format!("{:019}", version.get()).as_bytes());
    header
}

fn snippet(id: SnippetId, version: Version, copy: Copy) -> Result<Snippet, CacheError> {
    let owner = copy.owner.map(|bytes| Uuid::from_slice(&bytes)).transpose().map_err(corrupt)?;
    let metadata = SnippetMetadata {
        id,
        title: parsed(Title::parse(copy.title))?,
        language: parsed(Language::parse(copy.language))?,
        tags: parsed(Tags::parse(copy.tags))?,
        visibility: if copy.public { Visibility::Public } else { Visibility::Unlisted },
        owner: owner.map(AccountId),
        create_time: time(copy.create_time_micros)?,
        update_time: time(copy.update_time_micros)?,
        expire_time: copy.expire_time_micros.map(time).transpose()?,
        max_views: None,
        version,
    };
    Ok(Snippet { metadata, body: parsed(Body::parse(copy.body))? })
}

fn time(micros: i64) -> Result<DateTime<Utc>, CacheError> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| corrupt("time"))
}

fn parsed<T>(value: Result<T, impl Into<Violations>>) -> Result<T, CacheError> {
    value.map_err(|wrong| corrupt(wrong.into()))
}

fn corrupt(cause: impl Into<Cause>) -> CacheError {
    CacheError::Corrupt(cause.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewSnippet, now};

    fn sample(visibility: Visibility, owner: Option<AccountId>) -> Snippet {
        let snippet = NewSnippet {
            title: Title::parse("title").unwrap(),
            language: Language::parse("rust").unwrap(),
            body: Body::parse("böd\ny").unwrap(),
            tags: Tags::parse(vec!["one".into(), "two".into()]).unwrap(),
            visibility,
            owner,
            expire_time: owner.map(|_| now()),
            max_views: None,
        };
        let mut snippet = snippet.with_id(SnippetId::generate(), now());
        snippet.metadata.version = Version::new(42);
        snippet
    }

    #[test]
    fn a_copy_reads_back_as_it_was() {
        for visibility in [Visibility::Public, Visibility::Unlisted] {
            for owner in [None, Some(AccountId::generate())] {
                let (snippet, stored) = (sample(visibility, owner), now());
                let entry = copy(&snippet, stored);
                let read = decode(snippet.metadata.id, &entry, |time| time == stored).unwrap();
                assert_eq!(read, CacheEntry::Hit(Box::new(snippet.clone())));
                let distrusted = decode(snippet.metadata.id, &entry, |_| false).unwrap();
                assert_eq!(distrusted, CacheEntry::Miss);
            }
        }
    }

    #[test]
    fn every_version_has_a_header_of_the_same_length() {
        for version in [Version::FIRST, Version::MAX] {
            assert_eq!(tombstone(version).len(), HEADER_BYTES);
            let read = decode(SnippetId::generate(), &tombstone(version), |_| false).unwrap();
            assert_eq!(read, CacheEntry::Tombstone);
        }
    }

    #[test]
    fn what_is_no_entry_is_corrupt() {
        let id = SnippetId::generate();
        for entry in
            [&b""[..], b"V1", b"X0000000000000000001", b"V000000000000000000x", b"V0000000000000000001\xff"]
        {
            assert!(matches!(decode(id, entry, |_| true), Err(CacheError::Corrupt(_))), "{entry:?}");
        }
    }
}
