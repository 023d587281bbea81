//! Tokens that are taken in advance, to be spent until a certain time and without asking again.
//!
//! They are charged when they are taken, so that no more than the limit is ever out. That is all that a window needs, as
//! long as they are spent within it. Two algorithms promise something about every interval, and so about when a token is
//! spent:
//!
//! * A sliding window counts them as charged at the end of the lease. Whenever one is spent before, it is counted until
//!   a period after that at least.
//! * A token bucket leases until the debt of before would be gone. Let D be that debt, n the tokens, r the refill, and
//!   consider the lease of those still good that was taken first. The debt t later is at least D + n - rt plus what was
//!   charged since, other leases included, and t is at most D/r: so at any time the debt is at least the sum of all tokens
//!   that are good and not spent. What can pass in an interval is what the bucket held at its begin, these tokens, and
//!   the refill: at most the burst and the refill, as promised. A full bucket leases nothing. A refund takes debt away that
//!   this counts on: then at most the tokens that are out can pass beside the burst, until their time is over.

use std::time::Duration;

use super::{
    Decision, Hit, State,
    meter::{self, Meter},
};

/// Nobody may lease more than this part of what remains, so that near the limit leases get small.
pub const LEASED_PART: u64 = 4;

/// Tokens taken in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How many, at least 1.
    pub tokens: u64,
    /// How long they may be spent.
    pub good_for: Duration,
}

pub(super) fn charge_and_lease<M: Meter>(
    meter: &M,
    state: Option<&State>,
    hit: Hit<'_>,
    wanted: u64,
) -> (Option<State>, Decision, Option<Lease>) {
    let before = meter.current(meter::known(meter, state), hit.now_us);
    let (Some(charged), decision) = meter::charge(meter, state, hit) else {
        return (None, meter::peek(meter, state, hit), None);
    };
    let Some(mut current) = M::memory(&charged).cloned() else { return (Some(charged), decision, None) };
    let tokens = wanted.min(decision.remaining / LEASED_PART);
    let until_us = meter.leases_until_us(&before, &current, hit.now_us);
    if tokens == 0 || until_us <= hit.now_us {
        return (Some(charged), decision, None);
    }
    meter.add(&mut current, Hit { cost: tokens, now_us: until_us, ..hit });
    let decision = meter::charged(meter, &current, hit.now_us);
    let lease = Lease { tokens, good_for: Duration::from_micros(until_us - hit.now_us) };
    (Some(M::state(current)), decision, Some(lease))
}
