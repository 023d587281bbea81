//! A snippet in JSON, as protobuf maps the contract's message: 64 bit numbers are strings.

use prost_types::Timestamp;
use rpc::snippets::v1 as pb;
use serde::Serialize;

use crate::domain::from_unix;

/// The snippet as JSON.
pub(super) fn snippet(snippet: &pb::Snippet) -> Vec<u8> {
    let json = Snippet {
        id: &snippet.id,
        title: &snippet.title,
        language: &snippet.language,
        body: &snippet.body,
        tags: &snippet.tags,
        visibility: snippet.visibility().as_str_name(),
        create_time: snippet.create_time.and_then(time),
        update_time: snippet.update_time.and_then(time),
        expire_time: snippet.expire_time.and_then(time),
        max_views: (snippet.max_views > 0).then(|| snippet.max_views.to_string()),
        view_count: snippet.view_count.to_string(),
        etag: &snippet.etag,
        owner: &snippet.owner,
    };
    // Texts and lists of texts can always be written.
    serde_json::to_vec(&json).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snippet<'a> {
    id: &'a str,
    title: &'a str,
    language: &'a str,
    body: &'a str,
    tags: &'a [String],
    visibility: &'static str,
    create_time: Option<String>,
    update_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_views: Option<String>,
    view_count: String,
    etag: &'a str,
    owner: &'a str,
}

/// RFC 3339, in UTC.
pub(super) fn time(timestamp: Timestamp) -> Option<String> {
    let time = from_unix(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)?;
    Some(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_protobuf_maps_it() {
        let snippet = super::snippet(&pb::Snippet {
            id: "0123456789a".into(),
            body: "</script>\"\u{202e}".into(),
            tags: vec!["a".into()],
            visibility: pb::Visibility::Public.into(),
            create_time: Some(Timestamp { seconds: 1, nanos: 500_000_000 }),
            view_count: 3,
            ..pb::Snippet::default()
        });
        let json: serde_json::Value = serde_json::from_slice(&snippet).unwrap();
        assert_eq!(json["visibility"], "VISIBILITY_PUBLIC");
        assert_eq!(json["createTime"], "1970-01-01T00:00:01.500Z");
        assert_eq!(json["viewCount"], "3");
        assert_eq!(json["body"], "</script>\"\u{202e}");
        assert_eq!(json.get("maxViews"), None);
    }
}
