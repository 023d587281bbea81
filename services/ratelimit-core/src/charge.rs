//! Several limits for one request: all or nothing.

use crate::algorithm::{Algorithm, Decision, Hit, State};

/// What a request costs one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The limit.
    pub algorithm: Algorithm,
    /// What the request is worth. At 0 it is asked whether 1 could pass, and nothing is charged.
    pub cost: u64,
    /// The limit counts, and never denies the request.
    pub shadow: bool,
}

/// What became of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charged {
    /// What the limit says.
    pub decision: Decision,
    /// The state to remember; `None` where nothing was charged.
    pub next: Option<State>,
}

/// Decides about all charges of a request at one moment. Each comes with the state of its own subject; two charges to
/// one subject must have been added up before.
///
/// The request is allowed if every limit that is not in shadow has room for its cost. Then each of them is charged, and
/// also each limit in shadow that has room. A denied request, and a peek, charge nothing, limits in shadow included:
/// what they count is what they would count if they were in force.
///
/// `slot` names what is taken of limits that count [`Concurrency`](crate::algorithm::Concurrency).
pub fn charge_all(
    charges: &[(&Charge, Option<&State>)],
    slot: &str,
    peek: bool,
    now_us: u64,
) -> Vec<Charged> {
    let looks: Vec<Charged> =
        charges.iter().map(|(charge, state)| charge.look(*state, slot, now_us)).collect();
    let denied =
        charges.iter().zip(&looks).any(|((charge, _), look)| !charge.shadow && !look.decision.allowed);
    if peek || denied {
        return looks;
    }
    charges.iter().map(|(charge, state)| charge.commit(*state, slot, now_us)).collect()
}

impl Charge {
    /// What its limit is asked at that time.
    pub fn hit<'a>(&self, slot: &'a str, now_us: u64) -> Hit<'a> {
        Hit { cost: self.cost, slot, now_us }
    }

    fn look(&self, state: Option<&State>, slot: &str, now_us: u64) -> Charged {
        Charged { decision: self.algorithm.peek(state, self.hit(slot, now_us)), next: None }
    }

    fn commit(&self, state: Option<&State>, slot: &str, now_us: u64) -> Charged {
        let (next, decision) = self.algorithm.charge(state, self.hit(slot, now_us));
        Charged { decision, next }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::algorithm::{FixedWindow, Window};

    fn charge(limit: u64, shadow: bool) -> Charge {
        let algorithm =
            Algorithm::FixedWindow(FixedWindow::new(limit, Duration::from_micros(1_000)).unwrap());
        Charge { algorithm, cost: 2, shadow }
    }

    fn charge_new(charges: &[Charge], peek: bool) -> Vec<Charged> {
        let charges: Vec<_> = charges.iter().map(|charge| (charge, None)).collect();
        charge_all(&charges, "", peek, 7)
    }

    #[test]
    fn one_denial_charges_nobody() {
        let outcome = charge_new(&[charge(5, false), charge(1, false), charge(5, true)], false);
        assert_eq!(
            outcome.iter().map(|charged| charged.decision.allowed).collect::<Vec<_>>(),
            [true, false, true]
        );
        assert!(outcome.iter().all(|charged| charged.next.is_none()));
        assert_eq!(outcome[0].decision.remaining, 5);
    }

    #[test]
    fn a_shadow_limit_never_denies_and_counts_while_it_has_room() {
        let outcome = charge_new(&[charge(5, false), charge(1, true), charge(3, true)], false);
        let used = Some(State::Window(Window { used: 2, ends_us: 1_007 }));
        assert_eq!(
            outcome.iter().map(|charged| charged.next.clone()).collect::<Vec<_>>(),
            [used.clone(), None, used]
        );
        assert!(!outcome[1].decision.allowed);
    }

    #[test]
    fn a_peek_charges_nobody() {
        let outcome = charge_new(&[charge(5, false)], true);
        assert_eq!((outcome[0].next.clone(), outcome[0].decision.remaining), (None, 5));
    }
}
