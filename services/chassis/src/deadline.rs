//! The time that a call has left: the caller's `grpc-timeout` or the server's own limit, whichever is shorter.
//!
//! tonic's own server timeout answers CANCELLED and does not pass the remaining time on; this answers
//! DEADLINE_EXCEEDED, and [`remaining`] tells the calls made on behalf of this one how long they may take.

use std::time::{Duration, Instant};

use http::HeaderMap;
use tonic::Status;

use crate::status;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// How long the call that this task serves may still take; `None` outside of a call.
pub fn remaining() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

/// How long a call may take: the caller's `grpc-timeout`, at most `limit`.
pub(crate) fn allowed(headers: &HeaderMap, limit: Duration) -> Duration {
    requested(headers).map_or(limit, |requested| requested.min(limit))
}

/// Runs a call until the deadline at most.
///
/// # Errors
/// DEADLINE_EXCEEDED when time is up; the call is dropped then.
pub(crate) async fn within<T>(deadline: Instant, call: impl Future<Output = T>) -> Result<T, Status> {
    let call = DEADLINE.scope(deadline, call);
    tokio::time::timeout_at(deadline.into(), call).await.map_err(|_| exceeded())
}

fn exceeded() -> Status {
    status::Error::new(tonic::Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the call took too long").into()
}

/// Parses `grpc-timeout`: up to 8 digits and a unit, as in the gRPC over HTTP/2 protocol description.
fn requested(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount: u64 = (1..=8).contains(&digits.len()).then(|| digits.parse().ok())??;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(value: &str) -> Option<Duration> {
        requested(&HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-timeout"),
            value.parse().unwrap(),
        )]))
    }

    #[test]
    fn parses_what_the_protocol_allows() {
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(timeout("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "S", "123456789S", "5x", "-1S", "1.5S"] {
            assert_eq!(timeout(wrong), None, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn the_shorter_deadline_wins_and_is_passed_on() {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), "5S".parse().unwrap())]);
        assert_eq!(allowed(&headers, Duration::from_secs(60)), Duration::from_secs(5));
        assert_eq!(allowed(&headers, Duration::from_secs(1)), Duration::from_secs(1));
        let left =
            within(Instant::now() + Duration::from_secs(5), async { remaining() }).await.unwrap().unwrap();
        assert!(left <= Duration::from_secs(5) && left > Duration::from_secs(4));
        assert_eq!(remaining(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_takes_too_long_is_deadline_exceeded() {
        let call = within(Instant::now() + Duration::from_secs(1), std::future::pending::<()>());
        assert_eq!(call.await.unwrap_err().code(), tonic::Code::DeadlineExceeded);
    }
}
