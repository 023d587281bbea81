//! Time at the precision that every store keeps.

use chrono::{DateTime, SubsecRound as _, Utc};

/// The current time, in whole microseconds.
pub fn now() -> DateTime<Utc> {
    to_micros(Utc::now())
}

/// Cuts off what is finer than a microsecond: a value then reads back from a store as it was written.
pub fn to_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}
