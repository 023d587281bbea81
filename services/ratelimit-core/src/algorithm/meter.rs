//! What all algorithms have in common: look at the state as of now, see whether there is room, add, describe.

use std::time::Duration;

use super::{Decision, Hit, State};

/// The parts of an algorithm that are its own.
pub(super) trait Meter {
    /// What it remembers.
    type Memory: Clone;

    /// Out of a state of any algorithm.
    fn memory(state: &State) -> Option<&Self::Memory>;

    /// Into a state.
    fn state(memory: Self::Memory) -> State;

    /// What passes each period, or at a time.
    fn limit(&self) -> u64;

    /// The most that passes at once.
    fn capacity(&self) -> u64;

    /// The memory as it stands now.
    fn current(&self, memory: Option<&Self::Memory>, now_us: u64) -> Self::Memory;

    /// What could pass now.
    fn remaining(&self, current: &Self::Memory) -> u64;

    /// Counts a hit for which there is room.
    fn add(&self, current: &mut Self::Memory, hit: Hit<'_>);

    /// Takes back what is left of a hit that was added at `charged.now_us`; false where nothing of it is left.
    fn subtract(
        &self,
        current: &mut Self::Memory,
        charged: Hit<'_>,
        decision: &Decision,
        now_us: u64,
    ) -> bool;

    /// Until when tokens may be spent that are taken now, in microseconds; not after now where none may be taken.
    fn leases_until_us(&self, before: &Self::Memory, current: &Self::Memory, now_us: u64) -> u64;

    /// When that memory is as good as none, in microseconds.
    fn expires_us(&self, current: &Self::Memory) -> u64;

    /// When there will be room for a cost that is within the capacity, and has no room now, in microseconds.
    fn has_room_us(&self, current: &Self::Memory, cost: u64) -> u64;
}

pub(super) fn known<'a, M: Meter>(_: &M, state: Option<&'a State>) -> Option<&'a M::Memory> {
    state.and_then(M::memory)
}

pub(super) fn peek<M: Meter>(meter: &M, state: Option<&State>, hit: Hit<'_>) -> Decision {
    let current = meter.current(known(meter, state), hit.now_us);
    decide(meter, &current, hit)
}

pub(super) fn charge<M: Meter>(meter: &M, state: Option<&State>, hit: Hit<'_>) -> (Option<State>, Decision) {
    let mut current = meter.current(known(meter, state), hit.now_us);
    let decision = decide(meter, &current, hit);
    if !decision.allowed || hit.cost == 0 {
        return (None, decision);
    }
    meter.add(&mut current, hit);
    let decision = charged(meter, &current, hit.now_us);
    (Some(M::state(current)), decision)
}

/// What is told to a hit that was charged.
pub(super) fn charged<M: Meter>(meter: &M, current: &M::Memory, now_us: u64) -> Decision {
    Decision {
        allowed: true,
        remaining: meter.remaining(current),
        reset_after: wait(meter.expires_us(current), now_us),
        retry_after: None,
    }
}

pub(super) fn give_back<M: Meter>(
    meter: &M,
    state: Option<&State>,
    charged: Hit<'_>,
    decision: &Decision,
    now_us: u64,
) -> Option<State> {
    let mut current = meter.current(Some(known(meter, state)?), now_us);
    let is_left = meter.subtract(&mut current, charged, decision, now_us);
    is_left.then(|| M::state(current))
}

fn decide<M: Meter>(meter: &M, current: &M::Memory, hit: Hit<'_>) -> Decision {
    let (remaining, asked) = (meter.remaining(current), hit.cost.max(1));
    let allowed = asked <= remaining;
    // What a limit of 0 denies may pass once the rules have changed, so its callers are told to come back.
    let can_pass = asked <= meter.capacity() || meter.capacity() == 0;
    let retry_after = (!allowed && can_pass).then(|| wait(meter.has_room_us(current, asked), hit.now_us));
    Decision { allowed, remaining, reset_after: wait(meter.expires_us(current), hit.now_us), retry_after }
}

fn wait(until_us: u64, now_us: u64) -> Duration {
    Duration::from_micros(until_us.saturating_sub(now_us))
}
