//! Sends the calls through an algorithm, as a store does that keeps one subject's state.

use std::{collections::VecDeque, time::Duration};

use ratelimit_core::{Algorithm, Decision, Hit, State};

use crate::calls::calls;

/// The period of all limits. That it is a day lets the quota share the picture's axis.
pub const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
/// A period has so many units of time.
pub const UNITS: u64 = 1_000;
const UNIT_US: u64 = 86_400_000_000 / UNITS;
/// A midnight.
const START_US: u64 = 20_000 * UNITS * UNIT_US;
/// How long a call takes that takes a slot, in units.
const WORK: u64 = 250;
/// The call that never gives its slot back.
const CRASHES: usize = 2;

/// What became of the calls. Times are in thousandths of a period.
#[derive(Default)]
pub struct Run {
    /// What passed, in order.
    pub admitted: Vec<Admitted>,
    /// Begin and end of each window that was opened.
    pub windows: Vec<(u64, u64)>,
}

/// A call that passed.
pub struct Admitted {
    /// When.
    pub at: u64,
    /// How long it is shown as counting: for a period, or while it holds its slot.
    pub until: u64,
}

/// A slot to be given back.
struct Working {
    name: String,
    charged_at: u64,
    until: u64,
    told: Decision,
}

impl Run {
    /// Sends all calls, one after the other.
    pub fn through(algorithm: &Algorithm) -> Self {
        let (mut run, mut state, mut working) = (Self::default(), None, VecDeque::new());
        for (number, at) in calls().enumerate() {
            give_back_until(at, algorithm, &mut state, &mut working);
            let name = number.to_string();
            let (Some(next), told) = algorithm.charge(state.as_ref(), hit(&name, at)) else { continue };
            run.note_window(&next);
            state = Some(next);
            let gives_back = matches!(algorithm, Algorithm::Concurrency(_)) && number != CRASHES;
            let until = at + if gives_back { WORK } else { UNITS };
            run.admitted.push(Admitted { at, until });
            if gives_back {
                working.push_back(Working { name, charged_at: at, until, told });
            }
        }
        run
    }

    /// How many calls count from each moment on at which that changes.
    pub fn levels(&self) -> Vec<(u64, usize)> {
        let begins = self.admitted.iter().map(|it| it.at);
        let mut moments: Vec<u64> = begins.chain(self.admitted.iter().map(|it| it.until)).collect();
        moments.sort_unstable();
        moments.dedup();
        moments.into_iter().map(|at| (at, self.level(at))).collect()
    }

    /// The most that ever count together.
    pub fn most(&self) -> usize {
        self.levels().into_iter().map(|(_, level)| level).max().unwrap_or(0)
    }

    fn level(&self, now: u64) -> usize {
        self.admitted.iter().filter(|it| (it.at..it.until).contains(&now)).count()
    }

    fn note_window(&mut self, state: &State) {
        let State::Window(window) = state else { return };
        let end = (window.ends_us - START_US) / UNIT_US;
        if self.windows.last().is_none_or(|&(_, last)| last != end) {
            self.windows.push((end - UNITS, end));
        }
    }
}

fn give_back_until(
    now: u64,
    algorithm: &Algorithm,
    state: &mut Option<State>,
    working: &mut VecDeque<Working>,
) {
    while let Some(done) = working.pop_front_if(|it| it.until <= now) {
        let charged = hit(&done.name, done.charged_at);
        let next = algorithm.give_back(state.as_ref(), charged, &done.told, START_US + done.until * UNIT_US);
        *state = next.or(state.take());
    }
}

fn hit(slot: &str, at: u64) -> Hit<'_> {
    Hit { cost: 1, slot, now_us: START_US + at * UNIT_US }
}
