//! Views by the hour and by the day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use counter_worker::{domain::Batch, ports::TotalsStore as _};
use uuid::Uuid;

use crate::{
    place::{Buckets, Place},
    support::{parsed, view_batch},
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("not for ever")
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

/// The begin of the day before yesterday, which is over in every time zone.
fn past_day() -> i64 {
    now() / DAY * DAY - 2 * DAY
}

fn windowed(start: Option<i64>, end: Option<i64>, counts: &[(&str, u64)]) -> Batch {
    let mut batch = view_batch(Uuid::now_v7(), counts);
    batch.window_start = start.map(|start| time(start).into());
    batch.window_end = end.map(|end| time(end).into());
    parsed(&batch)
}

fn buckets(expected: &[(&str, i64, i64)]) -> Buckets {
    expected.iter().map(|(id, start, views)| (((*id).to_owned(), *start), *views)).collect()
}

pub async fn views_belong_to_the_hour_and_day_in_which_they_were_counted<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let day = past_day();
    let at = |start: i64, counts: &[(&str, u64)]| windowed(Some(start), Some(start + 5), counts);
    let first =
        [at(day - 1, &[("a", 1)]), at(day, &[("a", 2), ("b", 4)]), at(day + 2 * HOUR - 1, &[("a", 8)])];
    let second = [at(day + HOUR, &[("a", 16)]), at(day + 2 * HOUR, &[("b", 32)])];
    store.apply(&first).await.expect("applied");
    store.apply(&second).await.expect("applied");
    store.apply(&second).await.expect("applied to no effect");

    let hours = buckets(&[
        ("a", day - HOUR, 1),
        ("a", day, 2),
        ("b", day, 4),
        ("a", day + HOUR, 24),
        ("b", day + 2 * HOUR, 32),
    ]);
    assert_eq!(place.buckets("hourly").await, hours);
    assert_eq!(place.buckets("daily").await, buckets(&[("a", day - DAY, 1), ("a", day, 26), ("b", day, 36)]));
}

/// Applies a batch that is to count for now; the hour may end meanwhile.
async fn assert_counts_for_now<P: Place>(batch: Batch) {
    let place = P::create().await;
    let before = now();
    place.store().await.apply(&[batch]).await.expect("applied");
    let after = now();
    for (table, length) in [("hourly", HOUR), ("daily", DAY)] {
        let found = place.buckets(table).await;
        let expected = [before, after].map(|time| buckets(&[("a", time / length * length, 1)]));
        assert!(expected.contains(&found), "{found:?}, not {expected:?}");
    }
}

pub async fn without_a_begin_the_end_of_the_window_counts_and_without_that_the_commit<P: Place>() {
    let place = P::create().await;
    let day = past_day();
    place.store().await.apply(&[windowed(None, Some(day + HOUR), &[("a", 1)])]).await.expect("applied");
    assert_eq!(place.buckets("hourly").await, buckets(&[("a", day + HOUR, 1)]));
    assert_eq!(place.buckets("daily").await, buckets(&[("a", day, 1)]));
    assert_counts_for_now::<P>(windowed(None, None, &[("a", 1)])).await;
}

pub async fn a_publisher_with_a_wrong_clock_counts_for_now<P: Place>() {
    for wrong in [0, now() - 401 * DAY, now() + 2 * HOUR, now() + 10_000 * DAY] {
        assert_counts_for_now::<P>(windowed(Some(wrong), Some(past_day()), &[("a", 1)])).await;
    }
    let place = P::create().await;
    let long_ago = now() - 399 * DAY;
    place.store().await.apply(&[windowed(Some(long_ago), None, &[("a", 1)])]).await.expect("applied");
    assert_eq!(place.buckets("daily").await, buckets(&[("a", long_ago / DAY * DAY, 1)]));
}

pub async fn a_roll_up_stops_at_the_largest_number<P: Place>() {
    let place = P::create().await;
    let store = place.store().await;
    let day = past_day();
    for views in [i64::MAX.unsigned_abs() - 1, 5, 5] {
        store.apply(&[windowed(Some(day), None, &[("a", views), ("b", 1)])]).await.expect("applied");
    }
    let expected = buckets(&[("a", day, i64::MAX), ("b", day, 3)]);
    assert_eq!(place.buckets("hourly").await, expected);
    assert_eq!(place.buckets("daily").await, expected);
}
