//! What an update changes of a snippet.

use chrono::{DateTime, Utc};
use prost_types::FieldMask;
use rpc::snippets::v1 as pb;

use super::{error::ApiError, field_mask::Fields, messages};
use crate::domain::{Body, Language, SnippetPatch, Tags, Title, Violation, Violations};

const FIELDS: Fields = Fields {
    resource: "a snippet",
    mutable: &["title", "language", "body", "tags", "visibility", "expire_time", "ttl"],
    fixed: &["id", "create_time", "update_time", "max_views", "view_count", "etag", "owner"],
};

/// Validates an edit at `now`: the fields that the mask names or, without one, those that are set.
pub(super) fn patch(
    message: pb::Snippet,
    mask: Option<FieldMask>,
    now: DateTime<Utc>,
) -> Result<SnippetPatch, ApiError> {
    let fields = FIELDS.chosen(mask, set_fields(&message))?;
    parse(message, &fields, now)
}

fn parse(message: pb::Snippet, fields: &[&str], now: DateTime<Utc>) -> Result<SnippetPatch, ApiError> {
    let names = |field| fields.contains(&field);
    let mut violations = Violations::default();
    let mut patch = SnippetPatch::default();
    if names("title") {
        patch.title = violations.check("snippet", Title::parse(message.title));
    }
    if names("language") {
        patch.language = violations.check("snippet", Language::parse(message.language));
    }
    if names("body") {
        patch.body = violations.check("snippet", Body::parse(message.body));
    }
    if names("tags") {
        patch.tags = violations.check("snippet", Tags::parse(message.tags));
    }
    if names("visibility") {
        patch.visibility = violations.check("snippet", messages::visibility(message.visibility));
    }
    if names("expire_time") || names("ttl") {
        // Either says it. A mask that names one of them does not mean the other.
        let expire_time = message.expire_time.filter(|_| names("expire_time"));
        let ttl = message.ttl.filter(|_| names("ttl"));
        if !names("expire_time") && ttl.is_none() {
            violations.push(Violation::new("snippet.ttl", "must be set, as update_mask names it"));
        }
        patch.expire_time = violations.check("snippet", messages::expiry(expire_time, ttl, now));
    }
    violations.into_result()?;
    Ok(patch)
}

fn set_fields(message: &pb::Snippet) -> Vec<&'static str> {
    let set = [
        !message.title.is_empty(),
        !message.language.is_empty(),
        !message.body.is_empty(),
        !message.tags.is_empty(),
        message.visibility != 0,
        message.expire_time.is_some(),
        message.ttl.is_some(),
    ];
    FIELDS.mutable.iter().zip(set).filter_map(|(field, set)| set.then_some(*field)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Visibility, now};

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(ToString::to_string).collect() }
    }

    fn message() -> pb::Snippet {
        pb::Snippet { title: "t".into(), body: "b".into(), ..pb::Snippet::default() }
    }

    #[test]
    fn without_a_mask_what_is_set_changes() {
        let patch = patch(message(), None, now()).unwrap();
        assert!(patch.title.is_some() && patch.body.is_some());
        assert!(patch.language.is_none() && patch.tags.is_none() && patch.visibility.is_none());
    }

    #[test]
    fn a_mask_can_clear_a_field_and_a_star_replaces_all() {
        assert_eq!(
            patch(message(), Some(mask(&["language"])), now()).unwrap().language.unwrap().as_str(),
            ""
        );
        let all = patch(message(), Some(mask(&["*"])), now()).unwrap();
        assert_eq!(all.visibility, Some(Visibility::Unlisted));
        assert!(all.tags.unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_name() {
        for (paths, word) in [
            (&["etag"][..], "can't be changed"),
            (&["max_views"], "can't be changed"),
            (&["ttl"], "must be set"),
            (&["bodies"], "no field"),
            (&["*", "title"], "must stand alone"),
            (&[], "must name a field"),
        ] {
            let error = patch(message(), Some(mask(paths)), now()).unwrap_err();
            assert!(
                matches!(&error, ApiError::Invalid(v) if v.to_string().contains(word)),
                "{paths:?}: {error}"
            );
        }
    }

    #[test]
    fn an_end_is_set_by_either_field_and_taken_away_by_its_time() {
        let (now, hour) = (now(), prost_types::Duration { seconds: 3600, nanos: 0 });
        let ending = pb::Snippet { ttl: Some(hour), ..message() };
        let end = Some(Some(now + chrono::TimeDelta::hours(1)));
        assert_eq!(patch(ending.clone(), None, now).unwrap().expire_time, end);
        assert_eq!(patch(ending.clone(), Some(mask(&["ttl"])), now).unwrap().expire_time, end);
        assert_eq!(patch(ending.clone(), Some(mask(&["*"])), now).unwrap().expire_time, end);
        assert_eq!(patch(ending.clone(), Some(mask(&["expire_time"])), now).unwrap().expire_time, Some(None));
        assert_eq!(patch(message(), Some(mask(&["*"])), now).unwrap().expire_time, Some(None));
        assert_eq!(patch(ending, Some(mask(&["title"])), now).unwrap().expire_time, None);
    }

    #[test]
    fn a_masked_field_is_validated() {
        let error = patch(pb::Snippet::default(), Some(mask(&["body"])), now()).unwrap_err();
        assert!(matches!(&error, ApiError::Invalid(v) if v.iter().any(|v| v.field == "snippet.body")));
    }
}
