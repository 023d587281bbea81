//! How the faults of a schedule are drawn, and where they fit.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::Step;
use crate::Outage;
use crate::conservation::fault::{Fault, Node, Way};

/// Before this nothing happens: the readers are to be under way.
pub(super) const FIRST: Duration = Duration::from_secs(1);
/// `RabbitMQ` keeps the name of a new queue in memory for 3 s, and a broker that is killed within them never finds that
/// queue's leader again.
pub(super) const QUEUES_ARE_SAFE_AFTER: Duration = Duration::from_secs(5);
/// How often a place is looked for before a fault is left out.
const TRIES: usize = 500;
/// For how long a replica has had no broker when it is killed: longer than what a spool may lose.
pub(super) const UNSENT: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(8)];
/// For how long a worker's statements have been slow when it is killed: long enough for it to be amid a commit, which takes
/// several of them, of what has gathered during the last.
pub(super) const COMMITTING: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(5)];

/// Faults that were placed so far, in no order.
pub(super) struct Draft {
    rng: StdRng,
    length: Duration,
    steps: Vec<Step>,
}

impl Draft {
    /// None yet.
    pub(super) fn new(seed: u64, length: Duration) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), length, steps: Vec::new() }
    }

    /// One for each 10 s and two at least, by turns cut off from the broker long before, and not. One that was comes back,
    /// for a while, without a broker.
    pub(super) fn kill_replicas(&mut self) {
        for turn in 0..(self.length.as_secs() / 10).max(2) {
            let replica = Node::Replica(self.rng.random_range(0..2));
            let kill = Fault::Away(replica, Outage::Killed);
            if turn % 2 == 0 {
                self.place_within(Fault::Cut(Way { from: replica, to: Node::RabbitMq }), UNSENT, kill);
            } else {
                self.place(kill);
            }
        }
    }

    /// What every schedule has that is long enough, the most important first.
    pub(super) fn essential_faults(&mut self) {
        let worker = Node::Worker(self.rng.random_range(0..2));
        let other = Node::Worker(self.rng.random_range(0..2));
        let replica = Node::Replica(self.rng.random_range(0..2));
        let slow = Duration::from_millis(self.rng.random_range(400..800));
        let commits = Fault::Slow(Way { from: worker, to: Node::Postgres }, slow);
        self.place_within(commits, COMMITTING, Fault::Away(worker, Outage::Killed));
        for fault in [
            Fault::Away(Node::RabbitMq, Outage::Killed),
            Fault::Away(Node::Postgres, Outage::Killed),
            Fault::SlowAnswers(Way { from: other, to: Node::Postgres }, slow),
            Fault::Cut(Way { from: replica, to: Node::RabbitMq }),
            Fault::Cut(Way { from: other, to: Node::RabbitMq }),
            Fault::DiskFull,
            Fault::Away(Node::RabbitMq, Outage::Paused),
            Fault::Away(other, Outage::Paused),
            Fault::Away(Node::Postgres, Outage::Paused),
        ] {
            self.place(fault);
        }
    }

    /// One for each 3 s.
    pub(super) fn further_faults(&mut self) {
        for _ in 0..self.length.as_secs() / 3 {
            let fault = self.any_fault();
            self.place(fault);
        }
    }

    /// All of them, in the order of their beginning.
    pub(super) fn finish(mut self) -> Vec<Step> {
        self.steps.sort_by_key(|step| step.begin);
        self.steps
    }

    fn any_fault(&mut self) -> Fault {
        let nodes = [Node::Worker(0), Node::Worker(1), Node::RabbitMq, Node::Postgres];
        let node = nodes.choose(&mut self.rng).copied().unwrap_or(Node::Postgres);
        let way = Way::ALL.choose(&mut self.rng).copied().unwrap_or(Way::ALL[0]);
        let slow = Duration::from_millis(self.rng.random_range(50..3000));
        match self.rng.random_range(0..20) {
            0..5 => Fault::Away(node, Outage::Killed),
            5..8 => Fault::Away(node, Outage::Paused),
            8..12 => Fault::Cut(way),
            12..14 => Fault::Silent(way),
            14..17 => Fault::Slow(way, slow),
            17..19 => Fault::SlowAnswers(way, slow),
            _ => Fault::DiskFull,
        }
    }

    /// At any time at which its target has no other fault; leaves it out if none is found, or if there are so many faults
    /// that hardly anything would work in between.
    fn place(&mut self, fault: Fault) {
        if self.steps.len() >= self.most() {
            return;
        }
        let first = match fault {
            Fault::Away(Node::RabbitMq, Outage::Killed) => QUEUES_ARE_SAFE_AFTER,
            _ => FIRST,
        };
        for _ in 0..TRIES {
            let begin = self.between(first, self.length * 3 / 4);
            let step = Step { begin, end: begin + self.duration(fault), fault };
            if self.fits(&step) {
                return self.steps.push(step);
            }
        }
    }

    /// One for each 2 s, and a few.
    fn most(&self) -> usize {
        usize::try_from(self.length.as_secs() / 2).map_or(usize::MAX, |most| most + 3)
    }

    /// Two faults, the second some time after the first and over before it.
    fn place_within(&mut self, outer: Fault, [least, most]: [Duration; 2], inner: Fault) {
        for _ in 0..TRIES {
            let begin = self.between(FIRST, (self.length * 3 / 4).saturating_sub(least));
            let begin_inner = begin + self.between(least, most);
            let end_inner = begin_inner + self.short();
            let outer = Step { begin, end: end_inner + self.short(), fault: outer };
            let inner = Step { begin: begin_inner, end: end_inner, fault: inner };
            if self.fits(&outer) && self.fits(&inner) {
                return self.steps.extend([outer, inner]);
            }
        }
    }

    fn duration(&mut self, fault: Fault) -> Duration {
        let (least, most) = match fault {
            Fault::Away(_, Outage::Killed) => (300, 3_000),
            Fault::Away(_, Outage::Paused) | Fault::Cut(_) => (500, 5_000),
            Fault::DiskFull => (2_000, 5_000),
            Fault::Silent(_) => (1_000, 6_000),
            Fault::Slow(..) | Fault::SlowAnswers(..) => (1_000, 8_000),
        };
        self.between(Duration::from_millis(least), Duration::from_millis(most))
    }

    fn short(&mut self) -> Duration {
        self.between(Duration::from_millis(500), Duration::from_millis(2_000))
    }

    fn fits(&self, new: &Step) -> bool {
        let of_target = self.steps.iter().filter(|step| step.fault.target() == new.fault.target());
        let is_apart = |old: &Step| {
            new.begin >= old.end + old.fault.recovery() || old.begin >= new.end + new.fault.recovery()
        };
        of_target.into_iter().all(is_apart)
            && new.begin < self.length * 3 / 4
            && new.end <= self.length * 9 / 10
    }

    /// To a millisecond; the first, where there is none between.
    fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let to = to.max(from + Duration::from_millis(1));
        self.rng.random_range(from..to).as_millis().try_into().map_or(from, Duration::from_millis)
    }
}
