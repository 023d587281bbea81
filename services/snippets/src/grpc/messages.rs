//! Between the messages of the contract and the domain.

use chrono::{DateTime, TimeDelta, Utc};
use prost_types::{self as pb_types, Timestamp};
use rpc::snippets::v1 as pb;

use crate::domain::{
    self, Account, AccountId, ApiKey, Body, Caller, Language, MaxViews, NewSnippet, SnippetMetadata, Tags,
    Tier, Title, Violation, Violations, Visibility, from_unix,
};

use super::error::ApiError;

/// A snippet as a client sees it, with or without its body.
pub(super) fn snippet(snippet: &SnippetMetadata, body: Option<&Body>, view_count: u64) -> pb::Snippet {
    pb::Snippet {
        id: snippet.id.to_string(),
        title: snippet.title.as_str().to_owned(),
        language: snippet.language.as_str().to_owned(),
        body: body.map(Body::as_str).unwrap_or_default().to_owned(),
        tags: snippet.tags.iter().map(str::to_owned).collect(),
        visibility: visibility_message(snippet.visibility).into(),
        create_time: Some(timestamp(snippet.create_time)),
        update_time: Some(timestamp(snippet.update_time)),
        expire_time: snippet.expire_time.map(timestamp),
        max_views: snippet.max_views.map_or(0, |limit| limit.get().unsigned_abs()),
        view_count,
        etag: snippet.version.etag().into(),
        owner: snippet.owner.as_ref().map(AccountId::to_string).unwrap_or_default(),
        ..pb::Snippet::default()
    }
}

/// Validates what a caller wants to create at `now`; reports everything that is wrong with it.
pub(super) fn new_snippet(
    message: Option<pb::Snippet>,
    caller: &Caller,
    now: DateTime<Utc>,
) -> Result<NewSnippet, ApiError> {
    let message = message.ok_or_else(|| Violation::new("snippet", "is required"))?;
    let owner = caller.account_id();
    let mut violations = Violations::default();
    let title = violations.check("snippet", Title::parse(message.title));
    let language = violations.check("snippet", Language::parse(message.language));
    let body = violations.check("snippet", Body::parse(message.body));
    let tags = violations.check("snippet", Tags::parse(message.tags));
    let visibility = violations.check("snippet", visibility(message.visibility));
    let expire_time = violations.check("snippet", expiry(message.expire_time, message.ttl, now));
    let max_views = violations.check("snippet", MaxViews::parse(message.max_views));
    if visibility == Some(Visibility::Private) && owner.is_none() {
        violations.push(Violation::new(
            "snippet.visibility",
            "PRIVATE needs an owner: create it with an account's key",
        ));
    }
    match (title, language, body, tags, visibility, expire_time, max_views) {
        (
            Some(title),
            Some(language),
            Some(body),
            Some(tags),
            Some(visibility),
            Some(expire_time),
            Some(max_views),
        ) if violations.is_empty() => {
            Ok(NewSnippet { title, language, body, tags, visibility, owner, expire_time, max_views })
        }
        _ => Err(violations.into()),
    }
}

/// When a snippet is to end.
pub(super) fn expiry(
    expire_time: Option<Timestamp>,
    ttl: Option<pb_types::Duration>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Violation> {
    let expire_time = expire_time.map(|at| time("expire_time", at)).transpose()?;
    domain::expiry(expire_time, ttl.map(duration).transpose()?, now)
}

/// A duration of the contract: seconds and nanos of one sign, within 10,000 years.
fn duration(ttl: pb_types::Duration) -> Result<TimeDelta, Violation> {
    let of_one_sign = ttl.seconds == 0 || ttl.nanos == 0 || (ttl.seconds < 0) == (ttl.nanos < 0);
    let is_valid = of_one_sign && ttl.nanos.unsigned_abs() < 1_000_000_000;
    let seconds = TimeDelta::try_seconds(ttl.seconds).filter(|_| is_valid);
    seconds.and_then(|seconds| seconds.checked_add(&TimeDelta::nanoseconds(ttl.nanos.into()))).ok_or_else(
        || Violation::new("ttl", "must be a duration: seconds, and nanos of the same sign below 1000000000"),
    )
}

pub(super) fn visibility(number: i32) -> Result<Visibility, Violation> {
    match pb::Visibility::try_from(number) {
        Ok(pb::Visibility::Unspecified | pb::Visibility::Unlisted) => Ok(Visibility::Unlisted),
        Ok(pb::Visibility::Public) => Ok(Visibility::Public),
        Ok(pb::Visibility::Private) => Ok(Visibility::Private),
        Err(_) => Err(Violation::new("visibility", "must be PUBLIC, UNLISTED or PRIVATE")),
    }
}

fn visibility_message(visibility: Visibility) -> pb::Visibility {
    match visibility {
        Visibility::Public => pb::Visibility::Public,
        Visibility::Unlisted => pb::Visibility::Unlisted,
        Visibility::Private => pb::Visibility::Private,
    }
}

/// Whether a read wants the body.
pub(super) fn wants_body(view: i32) -> Result<bool, Violation> {
    match pb::SnippetView::try_from(view) {
        Ok(pb::SnippetView::Unspecified | pb::SnippetView::Full) => Ok(true),
        Ok(pb::SnippetView::Basic) => Ok(false),
        Err(_) => Err(Violation::new("view", "must be BASIC or FULL")),
    }
}

/// An account as an admin sees it.
pub(super) fn account(account: &Account) -> pb::Account {
    pb::Account {
        id: account.id.to_string(),
        display_name: account.display_name.as_str().to_owned(),
        tier: tier_message(account.tier).into(),
        create_time: Some(timestamp(account.create_time)),
        disabled: account.disabled,
    }
}

pub(super) fn tier(number: i32) -> Result<Tier, Violation> {
    match pb::Tier::try_from(number) {
        Ok(pb::Tier::Unspecified | pb::Tier::Free) => Ok(Tier::Free),
        Ok(pb::Tier::Premium) => Ok(Tier::Premium),
        Ok(pb::Tier::Admin) => Ok(Tier::Admin),
        Err(_) => Err(Violation::new("tier", "must be FREE, PREMIUM or ADMIN")),
    }
}

pub(super) fn tier_message(tier: Tier) -> pb::Tier {
    match tier {
        Tier::Free => pb::Tier::Free,
        Tier::Premium => pb::Tier::Premium,
        Tier::Admin => pb::Tier::Admin,
    }
}

/// A key without its secret.
pub(super) fn api_key(key: &ApiKey) -> pb::ApiKey {
    pb::ApiKey {
        id: key.id.to_string(),
        account_id: key.account_id.to_string(),
        display_name: key.display_name.as_str().to_owned(),
        create_time: Some(timestamp(key.create_time)),
        expire_time: key.expire_time.map(timestamp),
        revoke_time: key.revoke_time.map(timestamp),
    }
}

/// A time of the contract, if it is one that exists.
pub(super) fn time(field: &str, timestamp: Timestamp) -> Result<DateTime<Utc>, Violation> {
    let nanos = u32::try_from(timestamp.nanos).ok();
    let time = nanos.and_then(|nanos| from_unix(timestamp.seconds, nanos));
    time.ok_or_else(|| {
        Violation::new(field, "must lie in the years 1 to 9999, and its nanos between 0 and 999999999")
    })
}

/// A time as the contract has it.
pub(super) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
