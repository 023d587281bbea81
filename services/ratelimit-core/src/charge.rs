//! Several limits for one request: all or nothing.

use crate::algorithm::{Algorithm, Decision, State};

/// What a request costs one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// The limit.
    pub algorithm: Algorithm,
    /// What the request is worth.
    pub cost: u64,
    /// The limit counts, and never denies the request.
    pub shadow: bool,
}

/// What became of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub fn charge_all(charges: &[(Charge, Option<State>)], peek: bool, now_us: u64) -> Vec<Charged> {
    let looks: Vec<Charged> = charges.iter().map(|(charge, state)| look(charge, *state, now_us)).collect();
    let denied =
        charges.iter().zip(&looks).any(|((charge, _), look)| !charge.shadow && !look.decision.allowed);
    if peek || denied {
        return looks;
    }
    charges.iter().map(|(charge, state)| commit(charge, *state, now_us)).collect()
}

fn look(charge: &Charge, state: Option<State>, now_us: u64) -> Charged {
    Charged { decision: charge.algorithm.peek(state, charge.cost, now_us), next: None }
}

fn commit(charge: &Charge, state: Option<State>, now_us: u64) -> Charged {
    let (next, decision) = charge.algorithm.charge(state, charge.cost, now_us);
    Charged { decision, next }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::algorithm::{FixedWindow, Window};

    fn charge(limit: u64, shadow: bool) -> (Charge, Option<State>) {
        let algorithm = Algorithm::FixedWindow(FixedWindow::new(limit, Duration::from_secs(1)).unwrap());
        (Charge { algorithm, cost: 2, shadow }, None)
    }

    #[test]
    fn one_denial_charges_nobody() {
        let outcome = charge_all(&[charge(5, false), charge(1, false), charge(5, true)], false, 7);
        assert_eq!(
            outcome.iter().map(|charged| charged.decision.allowed).collect::<Vec<_>>(),
            [true, false, true]
        );
        assert!(outcome.iter().all(|charged| charged.next.is_none()));
        assert_eq!(outcome[0].decision.remaining, 5);
    }

    #[test]
    fn a_shadow_limit_never_denies_and_counts_while_it_has_room() {
        let outcome = charge_all(&[charge(5, false), charge(1, true), charge(3, true)], false, 7);
        let used = Some(State::Window(Window { used: 2, opened_us: 7 }));
        assert_eq!(outcome.iter().map(|charged| charged.next).collect::<Vec<_>>(), [used, None, used]);
        assert!(!outcome[1].decision.allowed);
    }

    #[test]
    fn a_peek_charges_nobody() {
        let outcome = charge_all(&[charge(5, false)], true, 7);
        assert_eq!((outcome[0].next, outcome[0].decision.remaining), (None, 5));
    }
}
