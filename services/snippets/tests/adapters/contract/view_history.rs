use super::World;
use Granularity::{Day, Hour};
use chrono::{DateTime, TimeDelta, Utc};
use snippets::domain::{Granularity, Period, SnippetId, StatsRange, now};

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

fn range(granularity: Granularity, start: &str, end: &str) -> StatsRange {
    Period::parse(Some(at(start)), Some(at(end)), now()).unwrap().in_buckets(granularity).unwrap()
}

async fn views(world: &impl World, id: &SnippetId, range: StatsRange) -> Vec<u64> {
    let stats = world.history().stats(id, range).await.unwrap();
    let (begins, views): (Vec<_>, Vec<_>) = stats.buckets().unzip();
    assert_eq!(begins, range.starts().collect::<Vec<_>>());
    views
}

pub async fn is_all_zero_before_the_worker_came(world: &impl World) {
    let id = SnippetId::generate();
    let noon = "2026-11-21T12:00:00Z";
    for granularity in [Hour, Day] {
        let range = range(granularity, "2026-11-20T00:00:00Z", noon);
        assert!(views(world, &id, range).await.iter().all(|&views| views == 0));
    }
    // And it is noticed when it has.
    world.make_view_tables().await;
    world.count_buckets(Hour, &[(id.as_str(), at(noon), 3)]).await;
    assert_eq!(views(world, &id, range(Hour, noon, "2026-11-21T13:00:00Z")).await, [3]);
}

pub async fn every_bucket_is_there_in_order_of_time(world: &impl World) {
    let id = SnippetId::generate();
    world.make_view_tables().await;
    // Written in any order.
    let days = [("2024-03-02T00:00:00Z", 4), ("2024-02-28T00:00:00Z", 2), ("2024-02-29T00:00:00Z", 3)];
    world.count_buckets(Day, &days.map(|(day, views)| (id.as_str(), at(day), views))).await;
    let range = range(Day, "2024-02-27T00:00:00Z", "2024-03-04T00:00:00Z");
    assert_eq!(views(world, &id, range).await, [0, 2, 3, 0, 4, 0]);
    assert_eq!(world.history().stats(&id, range).await.unwrap().total(), 9);
}

pub async fn begins_and_ends_where_the_range_does(world: &impl World) {
    let id = SnippetId::generate();
    world.make_view_tables().await;
    let hours: Vec<_> = (0..6)
        .map(|hour| (id.as_str(), at("1969-12-31T21:00:00Z") + TimeDelta::hours(hour), 1 << hour))
        .collect();
    world.count_buckets(Hour, &hours).await;
    let inside = range(Hour, "1969-12-31T22:00:00Z", "1970-01-01T01:00:00Z");
    assert_eq!(views(world, &id, inside).await, [2, 4, 8]);
    let touched = range(Hour, "1969-12-31T22:59:59.999999999Z", "1970-01-01T01:00:00.000000001Z");
    assert_eq!(views(world, &id, touched).await, [2, 4, 8, 16]);
}

pub async fn keeps_snippets_hours_and_days_apart(world: &impl World) {
    let [one, two] = [(); 2].map(|()| SnippetId::generate());
    world.make_view_tables().await;
    let midnight = at("2026-11-21T00:00:00Z");
    world.count_buckets(Hour, &[(one.as_str(), midnight, 1), (two.as_str(), midnight, 2)]).await;
    world.count_buckets(Day, &[(one.as_str(), midnight, 10), (two.as_str(), midnight, 20)]).await;
    for (granularity, id, expected) in [(Hour, one, 1), (Hour, two, 2), (Day, one, 10), (Day, two, 20)] {
        let range = range(granularity, "2026-11-21T00:00:00Z", "2026-11-21T00:30:00Z");
        assert_eq!(views(world, &id, range).await, [expected]);
    }
}

pub async fn adds_up_to_the_largest_number_at_most(world: &impl World) {
    let id = SnippetId::generate();
    world.make_view_tables().await;
    let start = at("2026-11-21T00:00:00Z");
    let full = |hour| (id.as_str(), start + TimeDelta::hours(hour), i64::MAX);
    world.count_buckets(Hour, &[full(0), full(1), full(2)]).await;
    let total = async |end| {
        world.history().stats(&id, range(Hour, "2026-11-21T00:00:00Z", end)).await.unwrap().total()
    };
    assert_eq!(total("2026-11-21T02:00:00Z").await, u64::MAX - 1);
    assert_eq!(total("2026-11-21T03:00:00Z").await, u64::MAX);
}

pub async fn a_thousand_buckets_and_the_ends_of_time(world: &impl World) {
    let id = SnippetId::generate();
    world.make_view_tables().await;
    let [first, last] = ["0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"];
    world.count_buckets(Day, &[(id.as_str(), at(first), 1), (id.as_str(), at(last), 2)]).await;
    let beginning = views(world, &id, range(Day, first, "0003-09-28T00:00:00Z")).await;
    assert_eq!((beginning.len(), beginning[0], beginning.iter().sum()), (1000, 1, 1_u64));
    let end = views(world, &id, range(Day, "9999-12-30T00:00:00Z", "9999-12-31T23:59:59Z")).await;
    assert_eq!(end, [0, 2]);
}
