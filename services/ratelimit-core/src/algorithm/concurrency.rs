//! Concurrency: so many at a time.

use std::{sync::Arc, time::Duration};

use super::{Decision, Hit, InvalidParameters, State, meter::Meter, period_us, validate_limit};

/// Most slots of a limit: each is an entry of its own in the counter.
pub const SLOTS_MAX: u64 = 10_000;

/// Up to `limit` slots, each held until it is given back, for `period` at most: what crashes while it holds a slot does
/// not hold it for ever.
///
/// A hit that names slots which it holds already holds them for another period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    limit: u64,
    period_us: u64,
}

/// The slots that are taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots {
    /// In the order in which they end.
    pub held: Vec<Slot>,
}

/// A slot that is taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// When it is free again at the latest, in microseconds.
    pub ends_us: u64,
    /// What holds it.
    pub name: Arc<str>,
    /// Which of those that the name holds, from 1.
    pub number: u64,
}

impl Concurrency {
    /// `limit` from 1 to [`SLOTS_MAX`].
    pub fn new(limit: u64, period: Duration) -> Result<Self, InvalidParameters> {
        validate_limit(limit, 1, SLOTS_MAX)?;
        Ok(Self { limit, period_us: period_us(period)? })
    }

    /// How long a slot is held at most.
    pub fn period(&self) -> Duration {
        Duration::from_micros(self.period_us)
    }
}

impl Slots {
    fn release(&mut self, name: &str, cost: u64) -> bool {
        let before = self.held.len();
        self.held.retain(|slot| &*slot.name != name || slot.number > cost);
        self.held.len() < before
    }
}

impl Meter for Concurrency {
    type Memory = Slots;

    fn memory(state: &State) -> Option<&Slots> {
        if let State::Slots(slots) = state { Some(slots) } else { None }
    }

    fn state(slots: Slots) -> State {
        State::Slots(slots)
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn capacity(&self) -> u64 {
        self.limit
    }

    fn current(&self, slots: Option<&Slots>, now_us: u64) -> Slots {
        let held = slots.iter().flat_map(|slots| &slots.held);
        Slots { held: held.filter(|slot| now_us < slot.ends_us).cloned().collect() }
    }

    fn remaining(&self, slots: &Slots) -> u64 {
        self.limit.saturating_sub(slots.held.len() as u64)
    }

    fn add(&self, slots: &mut Slots, hit: Hit<'_>) {
        slots.release(hit.slot, hit.cost);
        let (name, ends_us) = (Arc::from(hit.slot), hit.now_us.saturating_add(self.period_us));
        let place = slots.held.partition_point(|slot| slot.ends_us <= ends_us);
        let new = (1..=hit.cost).map(|number| Slot { ends_us, name: Arc::clone(&name), number });
        slots.held.splice(place..place, new);
    }

    fn subtract(&self, slots: &mut Slots, charged: Hit<'_>, _: &Decision, _: u64) -> bool {
        slots.release(charged.slot, charged.cost)
    }

    /// Slots have names, so none is taken for somebody who is not known yet.
    fn leases_until_us(&self, _: &Slots, _: &Slots, now_us: u64) -> u64 {
        now_us
    }

    fn expires_us(&self, slots: &Slots) -> u64 {
        slots.held.last().map_or(0, |slot| slot.ends_us)
    }

    fn has_room_us(&self, slots: &Slots, cost: u64) -> u64 {
        let excess = (slots.held.len() as u64 + cost).saturating_sub(self.limit);
        let last_in_the_way = usize::try_from(excess).ok().and_then(|excess| excess.checked_sub(1));
        last_in_the_way.and_then(|place| slots.held.get(place)).map_or(0, |slot| slot.ends_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Algorithm;

    fn hit(slot: &str, cost: u64, now_us: u64) -> Hit<'_> {
        Hit { cost, slot, now_us }
    }

    fn three_for_ten_ms() -> Algorithm {
        Algorithm::Concurrency(Concurrency::new(3, Duration::from_millis(10)).unwrap())
    }

    #[test]
    fn a_slot_is_held_until_it_is_given_back() {
        let limit = three_for_ten_ms();
        let (one, _) = limit.charge(None, hit("a", 1, 100));
        let (full, told) = limit.charge(one.as_ref(), hit("b", 2, 200));
        assert_eq!(told.remaining, 0);
        let denied = limit.peek(full.as_ref(), hit("c", 2, 300));
        assert_eq!(denied.retry_after, Some(Duration::from_micros(9_900)));
        let back = limit.give_back(full.as_ref(), hit("b", 2, 200), &told, 400);
        assert!(limit.peek(back.as_ref(), hit("c", 2, 400)).allowed);
        assert_eq!(limit.give_back(back.as_ref(), hit("b", 2, 200), &told, 400), None);
    }

    #[test]
    fn a_slot_that_nobody_gives_back_is_free_after_the_period() {
        let limit = three_for_ten_ms();
        let (full, _) = limit.charge(None, hit("a", 3, 100));
        assert!(!limit.peek(full.as_ref(), hit("b", 1, 10_099)).allowed);
        assert_eq!(limit.peek(full.as_ref(), hit("b", 1, 10_100)).remaining, 3);
    }

    #[test]
    fn the_same_name_holds_its_slots_longer_and_no_others() {
        let limit = three_for_ten_ms();
        let (one, _) = limit.charge(None, hit("a", 1, 100));
        let (same, told) = limit.charge(one.as_ref(), hit("a", 1, 5_000));
        assert_eq!((told.remaining, told.reset_after), (2, Duration::from_millis(10)));
        assert_eq!(limit.peek(same.as_ref(), hit("b", 1, 10_100)).remaining, 2);
    }
}
