//! Statistics: when a snippet was viewed, for its owner and admins to see.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::{SystemTime, UNIX_EPOCH};

use e2e::{Client, PATIENCE, assert_explained, until_views, visible};
use prost_types::Timestamp;
use rpc::snippets::v1::get_view_stats_response::Bucket;
use rpc::snippets::v1::{GetViewStatsRequest, GetViewStatsResponse, Granularity, Snippet, Tier, Visibility};
use stack::{Backends, Database, Product, Service, binary, until};
use tokio::sync::OnceCell;
use tonic::{Code, Status};

/// An id that no snippet has.
const MISSING: &str = "00000000000";
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// 2024-02-29, 00:00.
const LEAP_DAY: i64 = 1_709_164_800;

async fn running() -> &'static (Backends, Product) {
    static RUNNING: OnceCell<(Backends, Product)> = OnceCell::const_new();
    let start = async || {
        let backends = e2e::backends().await;
        let product = e2e::product(&backends).workers(1).start().await.unwrap();
        (backends, product)
    };
    RUNNING.get_or_init(start).await
}

async fn anonymous() -> Client {
    Client::to(&running().await.1.snippets[0]).await.unwrap()
}

fn snippet(visibility: Visibility) -> Snippet {
    Snippet { body: "x".into(), visibility: visibility.into(), ..Snippet::default() }
}

fn last_day(id: &str) -> GetViewStatsRequest {
    GetViewStatsRequest { id: id.into(), ..GetViewStatsRequest::default() }
}

fn between(id: &str, start: i64, end: i64, granularity: Granularity) -> GetViewStatsRequest {
    let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let (start_time, end_time) = (time(start), time(end));
    GetViewStatsRequest { id: id.into(), start_time, end_time, granularity: granularity.into() }
}

/// When each bucket begins, in seconds since 1970, and its views.
fn buckets(stats: &GetViewStatsResponse) -> Vec<(i64, u64)> {
    let bucket = |bucket: &Bucket| {
        let start = bucket.start_time.unwrap();
        assert_eq!(start.nanos, 0);
        (start.seconds, bucket.views)
    };
    stats.buckets.iter().map(bucket).collect()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// What anonymous callers, the owner, another account, an admin's account and the bootstrap admin get.
const MATRIX: [(Visibility, [Code; 5]); 3] = {
    use Code::{NotFound, Ok, PermissionDenied, Unauthenticated};
    let readable = [Unauthenticated, Ok, PermissionDenied, Ok, Ok];
    let private = [Unauthenticated, Ok, NotFound, Ok, Ok];
    [(Visibility::Public, readable), (Visibility::Unlisted, readable), (Visibility::Private, private)]
};

#[tokio::test]
async fn each_caller_may_see_what_it_may() {
    let anonymous = anonymous().await;
    let owner = anonymous.as_new(Tier::Free).await.unwrap();
    let other = anonymous.as_new(Tier::Premium).await.unwrap();
    let admin = anonymous.as_new(Tier::Admin).await.unwrap();
    let callers = [&anonymous, &owner, &other, &admin, &anonymous.as_admin()];
    for (visibility, expected) in MATRIX {
        let id = owner.create(snippet(visibility)).await.unwrap().id;
        // From the database, then from the cache.
        for cached in [false, true] {
            for (caller, expected) in callers.iter().zip(expected) {
                let stats = caller.view_stats(last_day(&id)).await;
                assert_eq!(code(&stats), expected, "{visibility:?}, cached: {cached}");
                stats.err().iter().for_each(assert_explained);
            }
            owner.get(&id).await.unwrap();
        }
    }
    // Nobody owns what an anonymous caller made.
    let nobodys = anonymous.create(snippet(Visibility::Public)).await.unwrap().id;
    let expected =
        [Code::Unauthenticated, Code::PermissionDenied, Code::PermissionDenied, Code::Ok, Code::Ok];
    for (caller, expected) in callers.iter().zip(expected) {
        assert_eq!(code(&caller.view_stats(last_day(&nobodys)).await), expected);
    }
}

fn code<T>(result: &Result<T, Status>) -> Code {
    result.as_ref().err().map_or(Code::Ok, Status::code)
}

#[tokio::test]
async fn what_is_private_or_deleted_looks_as_if_it_were_missing() {
    let anonymous = anonymous().await;
    let owner = anonymous.as_new(Tier::Free).await.unwrap();
    let other = anonymous.as_new(Tier::Free).await.unwrap();
    let private = owner.create(snippet(Visibility::Private)).await.unwrap().id;
    let deleted = owner.create(snippet(Visibility::Public)).await.unwrap().id;
    owner.delete(&deleted).await.unwrap();
    for id in [&private, &deleted] {
        for (caller, code) in [(&other, Code::NotFound), (&anonymous, Code::Unauthenticated)] {
            let missing = caller.view_stats(last_day(MISSING)).await.unwrap_err();
            assert_eq!(missing.code(), code);
            let forbidden = caller.view_stats(last_day(id)).await.unwrap_err();
            assert_eq!(visible(&missing), visible(&forbidden));
        }
    }
    for caller in [&owner, &anonymous.as_admin()] {
        assert_eq!(caller.view_stats(last_day(&deleted)).await.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test]
async fn a_key_that_is_unknown_comes_before_all_else() {
    let stranger = anonymous().await.with_key("snip_unknown");
    for id in [MISSING, "no id"] {
        let status = stranger.view_stats(last_day(id)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_explained(&status);
    }
}

#[tokio::test]
async fn without_a_range_it_is_the_last_24_hours_or_30_days() {
    let owner = anonymous().await.as_new(Tier::Free).await.unwrap();
    let id = owner.create(snippet(Visibility::Public)).await.unwrap().id;
    for (granularity, width, length) in [
        (Granularity::Unspecified, HOUR, DAY),
        (Granularity::Hour, HOUR, DAY),
        (Granularity::Day, DAY, 30 * DAY),
    ] {
        let before = now();
        let request = GetViewStatsRequest { granularity: granularity.into(), ..last_day(&id) };
        let stats = owner.view_stats(request).await.unwrap();
        let after = now() + 1;
        let begins: Vec<_> = buckets(&stats).into_iter().map(|(start, _)| start).collect();
        let (first, last) = (begins[0], begins[begins.len() - 1]);
        assert!(first > before - length - width && first <= after - length, "{granularity:?}: {first}");
        assert!(last > before - 1 - width && last < after, "{granularity:?}: {last}");
        let expected: Vec<_> = (first..=last).step_by(width.try_into().unwrap()).collect();
        assert_eq!(begins, expected);
        assert!(stats.buckets.iter().all(|bucket| bucket.views == 0) && stats.total_views == 0);
    }
}

#[tokio::test]
async fn each_bucket_of_the_range_has_its_views() {
    let owner = anonymous().await.as_new(Tier::Free).await.unwrap();
    let [one, two] =
        [owner.create(snippet(Visibility::Private)).await, owner.create(snippet(Visibility::Private)).await];
    let (one, two) = (one.unwrap().id, two.unwrap().id);
    // As the counter worker would have, had it been there.
    let database = Database::at(&running().await.0.database_url);
    let rows = format!(
        "insert into views.hourly_by_stripe values ('{one}', '2024-02-28 23:00Z', 1), ('{one}', '2024-02-29 00:00Z', 2),
             ('{one}', '2024-02-29 02:00Z', 4), ('{one}', '2024-02-29 03:00Z', 8), ('{two}', '2024-02-29 00:00Z', 16);
         insert into views.daily_by_stripe values ('{one}', '2024-02-28Z', 100), ('{one}', '2024-02-29Z', {max}),
             ('{one}', '2024-03-01Z', {max}), ('{one}', '2024-03-02Z', 1), ('{two}', '2024-02-29Z', 16)",
        max = i64::MAX
    );
    database.execute(&rows).await.unwrap();

    let hours = between(&one, LEAP_DAY, LEAP_DAY + 3 * HOUR, Granularity::Hour);
    let stats = owner.view_stats(hours).await.unwrap();
    let expected = [(LEAP_DAY, 2), (LEAP_DAY + HOUR, 0), (LEAP_DAY + 2 * HOUR, 4)];
    assert_eq!((buckets(&stats), stats.total_views), (expected.to_vec(), 6));

    // Buckets are whole at either end.
    let within = between(&one, LEAP_DAY - 1, LEAP_DAY + 1, Granularity::Hour);
    let stats = owner.view_stats(within).await.unwrap();
    assert_eq!((buckets(&stats), stats.total_views), (vec![(LEAP_DAY - HOUR, 1), (LEAP_DAY, 2)], 3));

    let max = i64::MAX.unsigned_abs();
    let days = |start, end| owner.view_stats(between(&one, start, end, Granularity::Day));
    let stats = days(LEAP_DAY + HOUR, LEAP_DAY + 2 * DAY).await.unwrap();
    assert_eq!(buckets(&stats), [(LEAP_DAY, max), (LEAP_DAY + DAY, max)]);
    assert_eq!(stats.total_views, u64::MAX - 1);
    // More than 64 bits can tell.
    assert_eq!(days(LEAP_DAY - DAY, LEAP_DAY + 3 * DAY).await.unwrap().total_views, u64::MAX);
}

#[tokio::test]
async fn a_thousand_buckets_are_served() {
    let owner = anonymous().await.as_new(Tier::Free).await.unwrap();
    let id = owner.create(snippet(Visibility::Public)).await.unwrap().id;
    for (granularity, width) in [(Granularity::Hour, HOUR), (Granularity::Day, DAY)] {
        let request = between(&id, LEAP_DAY, LEAP_DAY + 1000 * width, granularity);
        assert_eq!(owner.view_stats(request).await.unwrap().buckets.len(), 1000);
    }
}

/// Waits until the views of this hour and day are in the statistics: neither more nor less.
async fn until_in_stats(client: &Client, id: &str, views: u64) {
    for granularity in [Granularity::Hour, Granularity::Day] {
        let mut total = 0;
        let what = format!("{views} views are in the statistics by {granularity:?}");
        let all = async || {
            let request = GetViewStatsRequest { granularity: granularity.into(), ..last_day(id) };
            let stats = client.view_stats(request).await.unwrap();
            total = stats.total_views;
            // All are of these seconds; an hour may have ended meanwhile.
            let (old, recent) = stats.buckets.split_at(stats.buckets.len() - 2);
            assert!(old.iter().all(|bucket| bucket.views == 0), "{stats:?}");
            assert_eq!(recent.iter().map(|bucket| bucket.views).sum::<u64>(), total);
            total >= views
        };
        until(&what, PATIENCE, all).await.unwrap();
        assert_eq!(total, views, "{granularity:?}");
    }
}

#[tokio::test]
async fn views_are_in_the_statistics_within_seconds() {
    let (_, product) = running().await;
    let [one, two] = &product.snippets[..] else { panic!("two replicas") };
    let (one, two) = (Client::to(one).await.unwrap(), Client::to(two).await.unwrap());
    let owner = one.as_new(Tier::Free).await.unwrap();
    let id = owner.create(snippet(Visibility::Public)).await.unwrap().id;
    for _ in 0..20 {
        one.get(&id).await.unwrap();
        two.get(&id).await.unwrap();
        owner.get(&id).await.unwrap();
    }
    until_in_stats(&owner, &id, 40).await;
    until_in_stats(&two.as_admin(), &id, 40).await;
}

#[tokio::test]
async fn standalone_has_them_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = Service::builder("standalone", binary("standalone").unwrap())
        .env("DATA_DIR", dir.path().to_string_lossy())
        .env("BOOTSTRAP_ADMIN_KEY", e2e::ADMIN_KEY);
    let server = server.start().await.unwrap();
    let reader = Client::to(&server).await.unwrap();
    let owner = reader.as_new(Tier::Free).await.unwrap();
    let id = owner.create(snippet(Visibility::Public)).await.unwrap().id;
    let before = owner.view_stats(last_day(&id)).await.unwrap();
    assert!((24..=25).contains(&before.buckets.len()) && before.total_views == 0, "{before:?}");
    for _ in 0..7 {
        reader.get(&id).await.unwrap();
    }
    until_in_stats(&owner, &id, 7).await;
    assert_eq!(code(&reader.view_stats(last_day(&id)).await), Code::Unauthenticated);
}

#[tokio::test]
async fn asking_is_neither_a_view_nor_a_write() {
    let anonymous = anonymous().await;
    let owner = anonymous.as_new(Tier::Free).await.unwrap();
    let id = owner.create(snippet(Visibility::Public)).await.unwrap().id;
    // An admin's reads are views, and the tier's writes are 60 a minute.
    for _ in 0..70 {
        anonymous.as_admin().view_stats(last_day(&id)).await.unwrap();
        owner.view_stats(last_day(&id)).await.unwrap();
    }
    owner.create(snippet(Visibility::Public)).await.unwrap();
    anonymous.get(&id).await.unwrap();
    // The replica counts in order: had the calls before been views, they would be in this number.
    assert_eq!(until_views(&anonymous, &id, 1).await.unwrap(), 1);
}
