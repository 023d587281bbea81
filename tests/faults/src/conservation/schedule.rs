//! Which faults happen when: a pure function of a seed.

mod draft;

use std::fmt;
use std::time::Duration;

use self::draft::Draft;
use super::fault::Fault;

/// A fault and its time, from the beginning of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When it begins.
    pub begin: Duration,
    /// When its end begins: a server takes a while to start.
    pub end: Duration,
    /// What happens.
    pub fault: Fault,
}

/// Faults in the order of their beginning. Those of one target never overlap; all others may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// What it follows from.
    pub seed: u64,
    /// How long it takes.
    pub length: Duration,
    /// Its faults.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// The schedule of that seed and length, 10 s at least. The last quarter is free of new faults, and the last tenth of
    /// any. `kill_replicas` adds kills of replicas, of which the first at least has unsent views then.
    pub fn new(seed: u64, length: Duration, kill_replicas: bool) -> Self {
        let mut draft = Draft::new(seed, length);
        if kill_replicas {
            draft.kill_replicas();
        }
        draft.essential_faults();
        draft.further_faults();
        Self { seed, length, steps: draft.finish() }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "seed {}: {} faults in {} s", self.seed, self.steps.len(), self.length.as_secs())?;
        for Step { begin, end, fault } in &self.steps {
            writeln!(out, "{:8.3} s to {:7.3} s  {fault}", begin.as_secs_f64(), end.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::draft::{COMMITTING, FIRST, QUEUES_ARE_SAFE_AFTER, UNSENT};
    use super::*;
    use crate::Outage;
    use crate::conservation::fault::{Node, Way};

    const LENGTHS: [u64; 4] = [10, 12, 30, 60];

    fn schedules() -> impl Iterator<Item = (Schedule, bool)> {
        let kinds = (0..50).flat_map(|seed| LENGTHS.map(|length| (seed, Duration::from_secs(length))));
        kinds
            .flat_map(|(seed, length)| [false, true].map(|kills| (Schedule::new(seed, length, kills), kills)))
    }

    #[test]
    fn a_seed_has_one_schedule() {
        for (schedule, kills) in schedules().take(50) {
            assert_eq!(Schedule::new(schedule.seed, schedule.length, kills), schedule);
        }
        let minute = Duration::from_secs(60);
        assert_ne!(Schedule::new(1, minute, false).steps, Schedule::new(2, minute, false).steps);
    }

    #[test]
    fn every_fault_ends_and_the_last_quarter_has_no_new_one() {
        for (schedule, _) in schedules() {
            for step in &schedule.steps {
                assert!(step.begin >= FIRST && step.begin < step.end, "{schedule}");
                assert!(step.begin < schedule.length * 3 / 4 && step.end < schedule.length, "{schedule}");
            }
            assert!(schedule.steps.is_sorted_by_key(|step| step.begin));
            let most = usize::try_from(schedule.length.as_secs() / 2).unwrap() + 3;
            assert!(schedule.steps.len() <= most, "{schedule}");
        }
    }

    #[test]
    fn a_target_has_one_fault_at_a_time() {
        for (schedule, _) in schedules() {
            for (index, step) in schedule.steps.iter().enumerate() {
                let later = &schedule.steps[index + 1..];
                let next = later.iter().find(|later| later.fault.target() == step.fault.target());
                let is_apart = next.is_none_or(|next| next.begin >= step.end + step.fault.recovery());
                assert!(is_apart, "{schedule}");
            }
        }
    }

    #[test]
    fn the_broker_is_not_killed_while_its_queues_are_new() {
        for (schedule, _) in schedules() {
            let killed = |step: &&Step| step.fault == Fault::Away(Node::RabbitMq, Outage::Killed);
            assert!(
                schedule.steps.iter().filter(killed).all(|step| step.begin >= QUEUES_ARE_SAFE_AFTER),
                "{schedule}"
            );
        }
    }

    #[test]
    fn every_server_is_killed_and_a_worker_amid_a_commit() {
        for (schedule, _) in schedules().filter(|(schedule, _)| schedule.length.as_secs() >= 30) {
            let kills =
                |node| schedule.steps.iter().any(|step| step.fault == Fault::Away(node, Outage::Killed));
            assert!(kills(Node::RabbitMq) && kills(Node::Postgres), "{schedule}");
            let is_amid_commit = |outer: &Fault, kill: Node| matches!(outer, Fault::Slow(Way { from, to: Node::Postgres }, _) if *from == kill);
            assert!(
                [0, 1].into_iter().any(|index| kills_within(
                    &schedule,
                    Node::Worker(index),
                    COMMITTING[0],
                    is_amid_commit
                )),
                "{schedule}"
            );
        }
    }

    #[test]
    fn replicas_are_killed_if_wanted_and_then_with_unsent_views() {
        for (schedule, kills) in schedules() {
            let is_cut_off =
                |outer: &Fault, kill: Node| *outer == Fault::Cut(Way { from: kill, to: Node::RabbitMq });
            let killed = [0, 1]
                .into_iter()
                .any(|index| kills_within(&schedule, Node::Replica(index), UNSENT[0], is_cut_off));
            assert_eq!(killed, kills, "{schedule}");
        }
    }

    /// Whether that node is killed so long after the beginning of such another fault, and is back before its end.
    fn kills_within(
        schedule: &Schedule,
        node: Node,
        least: Duration,
        is_outer: impl Fn(&Fault, Node) -> bool,
    ) -> bool {
        let kills = schedule.steps.iter().filter(|step| step.fault == Fault::Away(node, Outage::Killed));
        let outer: Vec<&Step> = schedule.steps.iter().filter(|step| is_outer(&step.fault, node)).collect();
        kills
            .into_iter()
            .any(|kill| outer.iter().any(|outer| outer.begin + least <= kill.begin && outer.end > kill.end))
    }
}
