//! Requests about one snippet, or several.

use prost_types::{Duration, FieldMask, Timestamp};
use rpc::snippets::v1::{
    BatchGetSnippetsRequest, CreateSnippetRequest, DeleteSnippetRequest, GetSnippetRequest, Snippet,
    UpdateSnippetRequest,
};

use crate::Case;
use crate::sending::{Bad, bad};

/// A body is needed wherever one is set.
const BODY: &str = "snippet.body: must not be empty";
const LONG_TITLE: &str = "snippet.title: must have at most 200 characters";
const LONG_LANGUAGE: &str = "snippet.language: must have at most 40 characters";
const VISIBILITY: &str = "snippet.visibility: must be PUBLIC, UNLISTED or PRIVATE";
const PAST: &str = "snippet.expire_time: must lie in the future";
const NO_TIME: &str =
    "snippet.expire_time: must lie in the years 1 to 9999, and its nanos between 0 and 999999999";
const NO_DURATION: &str =
    "snippet.ttl: must be a duration: seconds, and nanos of the same sign below 1000000000";
const SHORT: &str = "snippet.ttl: must be a microsecond or more";
const LONG: &str = "snippet.ttl: must end before the year 10000";
const BOTH: &str = "snippet.ttl: must not be set beside expire_time";
const ID: &str = "id: must be 11 base62 characters (0-9, A-Z, a-z)";
const SNIPPET_ID: &str = "snippet.id: must be 11 base62 characters (0-9, A-Z, a-z)";
const REQUEST_ID: &str = "request_id: must be a UUID, or empty";
const NOTHING: &str = "update_mask: must name a field, or a field must be set";

const YEAR_10_000: i64 = 253_402_300_800;
const NEXT_CENTURY: i64 = 5_000_000_000;

pub fn cases() -> Vec<Case> {
    [texts(), lifetimes(), repeated_creates(), ids(), edits(), masks()].into_iter().flatten().collect()
}

fn create_as(snippet: Option<Snippet>, request_id: &str) -> Bad {
    let request = CreateSnippetRequest { snippet, request_id: request_id.into() };
    bad("/snippets.v1.SnippetService/CreateSnippet", &request)
}

/// A snippet that is fine but for what `spoil` does to it.
fn create(spoil: impl FnOnce(&mut Snippet)) -> Bad {
    let mut snippet = Snippet { body: "fine".into(), ..Snippet::default() };
    spoil(&mut snippet);
    create_as(Some(snippet), "")
}

fn texts() -> Vec<Case> {
    let long = "x".repeat(201);
    vec![
        (create_as(None, ""), &["snippet: is required"]),
        (create_as(Some(Snippet::default()), ""), &[BODY]),
        (create(|it| it.body = "nul\0".into()), &["snippet.body: must not contain NUL"]),
        (
            create(|it| it.body = "x".repeat(1024 * 1024 + 1)),
            &["snippet.body: must have at most 1048576 bytes"],
        ),
        (
            create(|it| it.body = "ä".repeat(512 * 1024 + 1)),
            &["snippet.body: must have at most 1048576 bytes"],
        ),
        (create(|it| it.title.clone_from(&long)), &[LONG_TITLE]),
        (create(|it| it.title = "ü".repeat(201)), &[LONG_TITLE]),
        (create(|it| it.title = "\0".into()), &["snippet.title: must not contain NUL"]),
        (create(|it| it.language = "x".repeat(41)), &[LONG_LANGUAGE]),
        (create(|it| it.language = "c\0".into()), &["snippet.language: must not contain NUL"]),
        (create(|it| it.tags = vec!["x".into(); 11]), &["snippet.tags: must have at most 10 entries"]),
        (create(|it| it.tags = vec![String::new()]), &["snippet.tags[0]: must not be empty"]),
        (
            create(|it| it.tags = ["a", "b", "c", &long].map(Into::into).into()),
            &["snippet.tags[3]: must have at most 40 characters"],
        ),
        (
            create(|it| it.tags = ["", "fine", "\0"].map(Into::into).into()),
            &["snippet.tags[0]: must not be empty", "snippet.tags[2]: must not contain NUL"],
        ),
        (create(|it| it.visibility = 99), &[VISIBILITY]),
        (create(|it| it.visibility = -1), &[VISIBILITY]),
        (create(|it| it.max_views = 1 << 63), &["snippet.max_views: must be at most 9223372036854775807"]),
        (create(|it| it.max_views = u64::MAX), &["snippet.max_views: must be at most 9223372036854775807"]),
        (
            create(|it| {
                it.title.clone_from(&long);
                it.language.clone_from(&long);
                it.body.clear();
                it.tags = vec!["fine".into(), String::new()];
                it.visibility = 99;
                it.ttl = Some(Duration::default());
                it.max_views = u64::MAX;
            }),
            &[
                LONG_TITLE,
                LONG_LANGUAGE,
                BODY,
                "snippet.tags[1]: must not be empty",
                VISIBILITY,
                SHORT,
                "snippet.max_views: must be at most 9223372036854775807",
            ],
        ),
    ]
}

fn lifetimes() -> Vec<Case> {
    let until = |seconds, nanos| create(move |it| it.expire_time = Some(Timestamp { seconds, nanos }));
    let lasts = |seconds, nanos| create(move |it| it.ttl = Some(Duration { seconds, nanos }));
    vec![
        (until(0, 0), &[PAST]),
        (until(1, 999_999_999), &[PAST]),
        (until(-1, 0), &[PAST]),
        (until(NEXT_CENTURY, -1), &[NO_TIME]),
        (until(NEXT_CENTURY, 1_000_000_000), &[NO_TIME]),
        (until(YEAR_10_000, 0), &[NO_TIME]),
        (until(i64::MAX, 0), &[NO_TIME]),
        (until(i64::MIN, i32::MIN), &[NO_TIME]),
        (lasts(0, 0), &[SHORT]),
        (lasts(0, 999), &[SHORT]),
        (lasts(-1, 0), &[SHORT]),
        (lasts(0, -1), &[SHORT]),
        (lasts(1, -1), &[NO_DURATION]),
        (lasts(-1, 1), &[NO_DURATION]),
        (lasts(1, 1_000_000_000), &[NO_DURATION]),
        (lasts(0, i32::MIN), &[NO_DURATION]),
        (lasts(i64::MAX, 0), &[NO_DURATION]),
        (lasts(YEAR_10_000, 0), &[LONG]),
        (
            create(|it| {
                it.expire_time = Some(Timestamp { seconds: NEXT_CENTURY, nanos: 0 });
                it.ttl = Some(Duration { seconds: 60, nanos: 0 });
            }),
            &[BOTH],
        ),
    ]
}

fn repeated_creates() -> Vec<Case> {
    let fine = || Some(Snippet { body: "fine".into(), ..Snippet::default() });
    vec![
        (create_as(fine(), "no uuid"), &[REQUEST_ID]),
        (create_as(fine(), "0190b3a0-0000-7000-8000-00000000000"), &[REQUEST_ID]),
        (create_as(fine(), "0190b3a0-0000-7000-8000-000000000000 "), &[REQUEST_ID]),
        (create_as(fine(), &"0".repeat(100_000)), &[REQUEST_ID]),
        (create_as(None, "no uuid"), &[REQUEST_ID, "snippet: is required"]),
        (create_as(Some(Snippet::default()), "no uuid"), &[REQUEST_ID, BODY]),
    ]
}

fn ids() -> Vec<Case> {
    let get = |id: &str, view| {
        let request = GetSnippetRequest { id: id.into(), view, ..GetSnippetRequest::default() };
        bad("/snippets.v1.SnippetService/GetSnippet", &request)
    };
    let delete = |id: &str, etag: &str| {
        let request = DeleteSnippetRequest { id: id.into(), etag: etag.into() };
        bad("/snippets.v1.SnippetService/DeleteSnippet", &request)
    };
    let batch = |ids: &[&str], view| {
        let request = BatchGetSnippetsRequest { ids: ids.iter().map(|id| (*id).to_owned()).collect(), view };
        bad("/snippets.v1.SnippetService/BatchGetSnippets", &request)
    };
    let fine = "0123456789a";
    vec![
        (get("", 0), &[ID]),
        (get("tooshort", 0), &[ID]),
        (get("much-too-long", 0), &[ID]),
        (get("0123456789!", 0), &[ID]),
        (get("0123456789é", 0), &[ID]),
        (get("0123456789\0", 0), &[ID]),
        (get(&fine.repeat(1_000), 0), &[ID]),
        (get(fine, 99), &["view: must be BASIC or FULL"]),
        (get("no id", -1), &[ID, "view: must be BASIC or FULL"]),
        (delete("", ""), &[ID]),
        (delete("'; drop table snippets; --", "v1"), &[ID]),
        (batch(&["x"], 0), &["ids[0]: must be 11 base62 characters (0-9, A-Z, a-z)"]),
        (
            batch(&[fine, "", fine, "no id"], 0),
            &[
                "ids[1]: must be 11 base62 characters (0-9, A-Z, a-z)",
                "ids[3]: must be 11 base62 characters (0-9, A-Z, a-z)",
            ],
        ),
        (batch(&[fine; 101], 0), &["ids: must have at most 100 entries"]),
        (batch(&[fine], 99), &["view: must be BASIC or FULL"]),
        (batch(&["x"; 101], 99), &["ids: must have at most 100 entries", "view: must be BASIC or FULL"]),
    ]
}

fn update(snippet: Option<Snippet>, mask: &[&str]) -> Bad {
    let paths: Vec<_> = mask.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = (!paths.is_empty()).then_some(FieldMask { paths });
    bad("/snippets.v1.SnippetService/UpdateSnippet", &UpdateSnippetRequest { snippet, update_mask })
}

fn named(id: &str) -> Snippet {
    Snippet { id: id.into(), ..Snippet::default() }
}

fn edits() -> Vec<Case> {
    let fine = || named("0123456789a");

    let until = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let minute = Some(Duration { seconds: 60, nanos: 0 });
    vec![
        (update(None, &[]), &["snippet: is required"]),
        (update(None, &["title"]), &["snippet: is required"]),
        (update(Some(named("")), &["title"]), &[SNIPPET_ID]),
        (update(Some(named("no id")), &["title"]), &[SNIPPET_ID]),
        (update(Some(named("no id")), &["body"]), &[SNIPPET_ID, BODY]),
        (update(Some(fine()), &[]), &[NOTHING]),
        (update(Some(fine()), &["body"]), &[BODY]),
        (update(Some(fine()), &["*"]), &[BODY]),
        (update(Some(Snippet { title: "x".repeat(201), ..fine() }), &[]), &[LONG_TITLE]),
        (update(Some(Snippet { language: "x".repeat(41), ..fine() }), &["language"]), &[LONG_LANGUAGE]),
        (
            update(Some(Snippet { tags: vec!["fine".into(), String::new()], ..fine() }), &[]),
            &["snippet.tags[1]: must not be empty"],
        ),
        (update(Some(Snippet { visibility: 99, ..fine() }), &["visibility"]), &[VISIBILITY]),
        (update(Some(Snippet { expire_time: until(1), ..fine() }), &[]), &[PAST]),
        (update(Some(Snippet { expire_time: until(i64::MAX), ..fine() }), &["expire_time"]), &[NO_TIME]),
        (update(Some(Snippet { ttl: Some(Duration::default()), ..fine() }), &[]), &[SHORT]),
        (update(Some(Snippet { ttl: minute, expire_time: until(NEXT_CENTURY), ..fine() }), &[]), &[BOTH]),
        (update(Some(fine()), &["ttl"]), &["snippet.ttl: must be set, as update_mask names it"]),
    ]
}

fn masks() -> Vec<Case> {
    let fine = || Some(Snippet { title: "fine".into(), ..named("0123456789a") });
    let long = "x".repeat(100_000);
    vec![
        (
            update(fine(), &["title", "nothing"]),
            &[
                "update_mask: \"nothing\" is no field of a snippet; expected title, language, body, tags, visibility, expire_time, ttl",
            ],
        ),
        (update(fine(), &["*", "title"]), &["update_mask: \"*\" must stand alone"]),
        (
            update(fine(), &["snippet.title"]),
            &[
                "update_mask: \"snippet.title\" is no field of a snippet; expected title, language, body, tags, visibility, expire_time, ttl",
            ],
        ),
        (
            update(fine(), &[""]),
            &[
                "update_mask: \"\" is no field of a snippet; expected title, language, body, tags, visibility, expire_time, ttl",
            ],
        ),
        (
            update(fine(), &[&long]),
            &[
                "update_mask: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"... is no field of a snippet; expected title, language, body, tags, visibility, expire_time, ttl",
            ],
        ),
        (update(fine(), &["id"]), &["update_mask: \"id\" can't be changed"]),
        (update(fine(), &["owner", "title"]), &["update_mask: \"owner\" can't be changed"]),
        (update(fine(), &["etag"]), &["update_mask: \"etag\" can't be changed"]),
        (
            update(fine(), &["create_time", "update_time"]),
            &[
                "update_mask: \"create_time\" can't be changed",
                "update_mask: \"update_time\" can't be changed",
            ],
        ),
        (update(fine(), &["view_count"]), &["update_mask: \"view_count\" can't be changed"]),
        (update(fine(), &["max_views"]), &["update_mask: \"max_views\" can't be changed"]),
        (
            update(Some(named("no id")), &["max_views"]),
            &[SNIPPET_ID, "update_mask: \"max_views\" can't be changed"],
        ),
    ]
}
