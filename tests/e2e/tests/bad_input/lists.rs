//! Requests for lists of snippets, and for statistics.

use prost_types::Timestamp;
use rpc::snippets::v1::{GetViewStatsRequest, Granularity, ListSnippetsRequest};

use crate::Case;
use crate::sending::{Bad, bad};

const TOKEN: &str =
    "page_token: must be the next_page_token of the same list, asked for with the same arguments";
const SIZE: &str = "page_size: must not be negative";
const OWNER: &str = "owner: must be \"me\" or empty";
const ORDER: &str = "order_by: must be NEWEST or MOST_VIEWED";
const ANY_VISIBILITY: &str = "visibility: must be PUBLIC, UNLISTED or PRIVATE";
const ONLY_PUBLIC: &str = "visibility: must be PUBLIC or not set, unless owner is \"me\"";
const START: &str = "start_time: must lie in the years 1 to 9999, and its nanos between 0 and 999999999";
const END: &str = "end_time: must lie in the years 1 to 9999, and its nanos between 0 and 999999999";
const START_BEFORE_END: &str = "start_time: must be before end_time";
const GRANULARITY: &str = "granularity: must be HOUR or DAY";
const ID: &str = "id: must be 11 base62 characters (0-9, A-Z, a-z)";

pub fn cases() -> Vec<Case> {
    [lists(), ranges()].into_iter().flatten().collect()
}

fn list(spoil: impl FnOnce(&mut ListSnippetsRequest)) -> Bad {
    let mut request = ListSnippetsRequest::default();
    spoil(&mut request);
    bad("/snippets.v1.SnippetService/ListSnippets", &request)
}

fn lists() -> Vec<Case> {
    vec![
        (list(|it| it.page_size = -1), &[SIZE]),
        (list(|it| it.page_size = i32::MIN), &[SIZE]),
        (list(|it| it.page_token = "no token".into()), &[TOKEN]),
        (list(|it| it.page_token = "A".repeat(64)), &[TOKEN]),
        (list(|it| it.page_token = "A".repeat(10_000)), &[TOKEN]),
        (list(|it| it.owner = "you".into()), &[OWNER]),
        (list(|it| it.owner = "0190b3a0-0000-7000-8000-000000000000".into()), &[OWNER]),
        (list(|it| it.language = "x".repeat(41)), &["language: must have at most 40 characters"]),
        (list(|it| it.language = "\0".into()), &["language: must not contain NUL"]),
        (list(|it| it.tag = "x".repeat(41)), &["tag: must have at most 40 characters"]),
        (list(|it| it.tag = "\0".into()), &["tag: must not contain NUL"]),
        (list(|it| it.visibility = 99), &[ANY_VISIBILITY]),
        (list(|it| it.visibility = 2), &[ONLY_PUBLIC]),
        (list(|it| it.visibility = 3), &[ONLY_PUBLIC]),
        (list(|it| (it.owner, it.visibility) = ("me".into(), -1)), &[ANY_VISIBILITY]),
        (list(|it| it.order_by = 99), &[ORDER]),
        (
            list(|it| {
                it.page_size = -1;
                it.page_token = "x".into();
                it.owner = "you".into();
                it.language = "\0".into();
                it.tag = "\0".into();
                it.visibility = 99;
                it.order_by = -1;
            }),
            &[
                ANY_VISIBILITY,
                OWNER,
                "language: must not contain NUL",
                "tag: must not contain NUL",
                ORDER,
                SIZE,
                TOKEN,
            ],
        ),
    ]
}

/// Seconds and nanoseconds since 1970.
type Time = (i64, i32);

fn stats(id: &str, times: [Option<Time>; 2], granularity: Granularity) -> Bad {
    stats_by(id, times, granularity.into())
}

fn stats_by(id: &str, times: [Option<Time>; 2], granularity: i32) -> Bad {
    let [start_time, end_time] = times.map(|time| time.map(|(seconds, nanos)| Timestamp { seconds, nanos }));
    let request = GetViewStatsRequest { id: id.into(), start_time, end_time, granularity };
    bad("/snippets.v1.SnippetService/GetViewStats", &request)
}

fn ranges() -> Vec<Case> {
    const FINE: &str = "0123456789a";
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_10_000: i64 = 253_402_300_800;
    let at = |seconds| Some((seconds, 0));
    let (now, next_century) = (at(1_800_000_000), at(5_000_000_000));
    let (hour, day) = (Granularity::Hour, Granularity::Day);
    vec![
        (stats("", [None, None], hour), &[ID]),
        (stats("no id", [None, None], day), &[ID]),
        (stats_by(FINE, [None, None], 99), &[GRANULARITY]),
        (stats_by(FINE, [None, None], -1), &[GRANULARITY]),
        (stats(FINE, [Some((0, -1)), now], hour), &[START]),
        (stats(FINE, [Some((0, 1_000_000_000)), now], hour), &[START]),
        (stats(FINE, [at(YEAR_1 - 1), at(YEAR_1 + 1)], hour), &[START]),
        (stats(FINE, [at(i64::MIN), now], hour), &[START]),
        (stats(FINE, [now, Some((1_900_000_000, i32::MAX))], hour), &[END]),
        (stats(FINE, [at(YEAR_10_000 - 1), at(YEAR_10_000)], day), &[END]),
        (stats(FINE, [now, at(i64::MAX)], day), &[END]),
        (stats(FINE, [None, at(YEAR_1)], day), &["end_time: must be after 0001-01-01T00:00:00Z"]),
        (stats(FINE, [now, now], hour), &[START_BEFORE_END]),
        (stats(FINE, [Some((1_800_000_000, 1)), now], day), &[START_BEFORE_END]),
        (
            stats(FINE, [next_century, None], hour),
            &["start_time: must be before now, where the range ends by default"],
        ),
        (
            stats(FINE, [at(0), at(1000 * HOUR + 1)], hour),
            &[
                "start_time: at most 1000 buckets: begin at 1970-01-01T01:00:00Z or later, or use GRANULARITY_DAY",
            ],
        ),
        (
            stats(FINE, [at(-1), at(1000 * HOUR)], hour),
            &[
                "start_time: at most 1000 buckets: begin at 1970-01-01T00:00:00Z or later, or use GRANULARITY_DAY",
            ],
        ),
        (
            stats(FINE, [at(0), at(1000 * DAY + 1)], day),
            &["start_time: at most 1000 buckets: begin at 1970-01-02T00:00:00Z or later"],
        ),
        (stats_by("no id", [now, now], 99), &[ID, GRANULARITY, START_BEFORE_END]),
        (stats_by("", [Some((0, -1)), at(i64::MAX)], 99), &[ID, START, END, GRANULARITY]),
    ]
}
