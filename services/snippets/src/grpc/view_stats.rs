//! Between the messages about statistics and the domain.

use chrono::{DateTime, Utc};
use rpc::snippets::v1 as pb;
use rpc::snippets::v1::get_view_stats_response::Bucket;

use super::messages::{time, timestamp};
use crate::domain::{Granularity, Period, StatsRange, ViewStats, Violation, Violations};

/// Validates what a caller wants to know; reports everything that is wrong with it.
pub(super) fn range(request: &pb::GetViewStatsRequest, now: DateTime<Utc>) -> Result<StatsRange, Violations> {
    let mut violations = Violations::default();
    let start = request.start_time.map(|it| time("start_time", it)).transpose();
    let end = request.end_time.map(|it| time("end_time", it)).transpose();
    let times = violations.check("", start).zip(violations.check("", end));
    let granularity = violations.check("", granularity(request.granularity));
    let period = times.and_then(|(start, end)| violations.check("", Period::parse(start, end, now)));
    let range = period
        .zip(granularity)
        .and_then(|(period, granularity)| violations.check("", period.in_buckets(granularity)));
    range.ok_or(violations)
}

fn granularity(number: i32) -> Result<Granularity, Violation> {
    match pb::Granularity::try_from(number) {
        Ok(pb::Granularity::Unspecified | pb::Granularity::Hour) => Ok(Granularity::Hour),
        Ok(pb::Granularity::Day) => Ok(Granularity::Day),
        Err(_) => Err(Violation::new("granularity", "must be HOUR or DAY")),
    }
}

/// Statistics as a client sees them.
pub(super) fn response(stats: &ViewStats) -> pb::GetViewStatsResponse {
    let bucket = |(start, views)| Bucket { start_time: Some(timestamp(start)), views };
    pb::GetViewStatsResponse { buckets: stats.buckets().map(bucket).collect(), total_views: stats.total() }
}
