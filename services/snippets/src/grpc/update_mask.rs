//! Which fields an update changes.

use prost_types::FieldMask;
use rpc::snippets::v1 as pb;

use super::{error::ApiError, messages};
use crate::domain::{Body, Language, SnippetPatch, Tags, Title, Violation, Violations};

const MUTABLE: [&str; 5] = ["title", "language", "body", "tags", "visibility"];
const FIXED: [&str; 6] = ["id", "create_time", "update_time", "view_count", "etag", "owner"];
const LATER: [(&str, &str); 3] =
    [("expire_time", "snippet.expire_time"), ("ttl", "snippet.ttl"), ("max_views", "snippet.max_views")];

/// Validates an edit: the fields that the mask names or, without one, those that are set.
pub(super) fn patch(message: pb::Snippet, mask: Option<FieldMask>) -> Result<SnippetPatch, ApiError> {
    let fields = match mask.map(|mask| mask.paths) {
        Some(paths) if paths != ["*"] => masked(&paths)?,
        mask => {
            messages::refuse_unsupported(&message)?;
            if mask.is_some() { MUTABLE.to_vec() } else { set_fields(&message) }
        }
    };
    if fields.is_empty() {
        return Err(Violation::new("update_mask", "must name a field, or a field must be set").into());
    }
    parse(message, &fields)
}

fn parse(message: pb::Snippet, fields: &[&str]) -> Result<SnippetPatch, ApiError> {
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
    violations.into_result()?;
    Ok(patch)
}

fn masked(paths: &[String]) -> Result<Vec<&'static str>, ApiError> {
    let mut violations = Violations::default();
    let mut fields = Vec::new();
    for path in paths {
        if let Some((_, field)) = LATER.iter().find(|(name, _)| name == path) {
            return Err(ApiError::FieldUnimplemented(field));
        }
        match MUTABLE.iter().find(|name| *name == path) {
            Some(field) => fields.push(*field),
            None => violations.push(Violation::new("update_mask", refusal(path))),
        }
    }
    violations.into_result()?;
    Ok(fields)
}

fn refusal(path: &str) -> String {
    if path == "*" {
        "\"*\" must stand alone".to_owned()
    } else if FIXED.contains(&path) {
        format!("{path:?} can't be changed")
    } else {
        format!("{path:?} is no field of a snippet; expected {}", MUTABLE.join(", "))
    }
}

fn set_fields(message: &pb::Snippet) -> Vec<&'static str> {
    let set = [
        !message.title.is_empty(),
        !message.language.is_empty(),
        !message.body.is_empty(),
        !message.tags.is_empty(),
        message.visibility != 0,
    ];
    MUTABLE.into_iter().zip(set).filter_map(|(field, set)| set.then_some(field)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Visibility;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(ToString::to_string).collect() }
    }

    fn message() -> pb::Snippet {
        pb::Snippet { title: "t".into(), body: "b".into(), ..pb::Snippet::default() }
    }

    #[test]
    fn without_a_mask_what_is_set_changes() {
        let patch = patch(message(), None).unwrap();
        assert!(patch.title.is_some() && patch.body.is_some());
        assert!(patch.language.is_none() && patch.tags.is_none() && patch.visibility.is_none());
    }

    #[test]
    fn a_mask_can_clear_a_field_and_a_star_replaces_all() {
        assert_eq!(patch(message(), Some(mask(&["language"]))).unwrap().language.unwrap().as_str(), "");
        let all = patch(message(), Some(mask(&["*"]))).unwrap();
        assert_eq!(all.visibility, Some(Visibility::Unlisted));
        assert!(all.tags.unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_name() {
        for (paths, word) in [
            (&["etag"][..], "can't be changed"),
            (&["bodies"], "no field"),
            (&["*", "title"], "must stand alone"),
            (&[], "must name a field"),
        ] {
            let error = patch(message(), Some(mask(paths))).unwrap_err();
            assert!(
                matches!(&error, ApiError::Invalid(v) if v.to_string().contains(word)),
                "{paths:?}: {error}"
            );
        }
        assert!(matches!(
            patch(message(), Some(mask(&["ttl"]))),
            Err(ApiError::FieldUnimplemented("snippet.ttl"))
        ));
    }

    #[test]
    fn a_masked_field_is_validated() {
        let error = patch(pb::Snippet::default(), Some(mask(&["body"]))).unwrap_err();
        assert!(matches!(&error, ApiError::Invalid(v) if v.iter().any(|v| v.field == "snippet.body")));
    }
}
