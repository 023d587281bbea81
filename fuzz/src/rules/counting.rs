//! Whatever parameters a file gives a limit, it counts as it says.

use ratelimit_core::{Algorithm, Decision, Hit, State};

/// The earliest and the latest time that is tried, in microseconds: the years 2026 and 2096.
const TIMES_US: std::ops::Range<u64> = 1_767_225_600_000_000..3_976_214_400_000_000;

/// A time that follows from the set's version.
pub fn some_time_us(version: &str) -> u64 {
    let number = u64::from_str_radix(version, 16).expect("a version is a number");
    TIMES_US.start + number % (TIMES_US.end - TIMES_US.start)
}

/// Uses up the limit, waits as long as it says, and gives back.
pub fn counts_as_it_says(algorithm: &Algorithm, now_us: u64) {
    let capacity = algorithm.capacity();
    let all = Hit { cost: capacity, slot: "all", now_us };
    let one = |now_us| Hit { cost: 1, slot: "one", now_us };
    let endless = algorithm.peek(None, Hit { cost: u64::MAX, ..all });
    assert!(!endless.allowed, "{algorithm:?}: {endless:?}");
    if capacity == 0 {
        let denied = algorithm.peek(None, one(now_us));
        return assert!(!denied.allowed && waits(&denied) > 0, "{algorithm:?}: {denied:?}");
    }
    let (Some(state), charged) = algorithm.charge(None, all) else {
        panic!("{algorithm:?} lets nothing pass")
    };
    assert!(charged.allowed && charged.remaining == 0, "{algorithm:?}: {charged:?}");
    let peek = |state: Option<&State>, now_us| algorithm.peek(state, one(now_us));
    let denied = peek(Some(&state), now_us);
    assert!(!denied.allowed && waits(&denied) > 0, "{algorithm:?}: {denied:?}");
    let room_us = now_us + waits(&denied);
    assert!(peek(Some(&state), room_us).allowed, "{algorithm:?} at {now_us}: no room after {denied:?}");
    assert!(!peek(Some(&state), room_us - 1).allowed, "{algorithm:?} at {now_us}: room before {denied:?}");
    let whole = peek(Some(&state), algorithm.expires_us(&state));
    assert_eq!(whole.remaining, capacity, "{algorithm:?} at {now_us}: {whole:?} once it is forgotten");
    let given_back = algorithm.give_back(Some(&state), all, &charged, now_us);
    let whole = peek(given_back.as_ref(), now_us);
    assert_eq!(whole.remaining, capacity, "{algorithm:?} at {now_us}: {whole:?} after it was given back");
}

/// How long, in microseconds; 0 where it does not say.
fn waits(denied: &Decision) -> u64 {
    denied.retry_after.and_then(|wait| u64::try_from(wait.as_micros()).ok()).unwrap_or_default()
}
