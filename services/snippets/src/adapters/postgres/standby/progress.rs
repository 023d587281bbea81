//! What is known of how far a standby is.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The oldest that a standby may be to be read from: what is edited shows within a second everywhere.
pub(super) const AGE_MAX: Duration = Duration::from_secs(1);
/// Positions of the primary that are remembered. A standby that is further behind is too old anyhow, and is known again once
/// it has reached the newest.
const SEEN_MAX: usize = 16;

/// A place in the log of changes of a database system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Which system's log, as another one's says nothing.
    pub(super) system: i64,
    /// Bytes from its beginning.
    pub(super) bytes: i64,
}

/// Why a standby is not read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It does not answer, is no standby, or is one of another system.
    Away,
    /// It may be too old.
    Lagging,
    /// It may not have what this process has edited.
    Edited,
}

/// Compares positions rather than clocks: `pg_last_xact_replay_timestamp` grows old while nothing is written, and a standby
/// that is cut off has replayed all that it has received.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Where the primary was, and when that was asked: what the standby has not reached yet, oldest first.
    ahead: VecDeque<(Instant, Position)>,
    /// The standby has all that was committed by then.
    as_of: Option<Instant>,
    primary_answers: bool,
    standby_answers: bool,
}

impl Progress {
    /// The primary was asked then, and said where it is.
    pub(super) fn primary(&mut self, asked: Instant, position: Option<Position>) {
        self.primary_answers = position.is_some();
        let Some(position) = position else { return };
        if self.ahead.len() == SEEN_MAX {
            self.ahead.remove(SEEN_MAX / 2);
        }
        self.ahead.push_back((asked, position));
    }

    /// The standby has said how far it is.
    pub(super) fn standby(&mut self, position: Option<Position>) {
        self.standby_answers = position.is_some();
        let Some(at) = position else { return };
        while let Some((asked, position)) = self.ahead.front() {
            if position.system != at.system {
                self.standby_answers = false;
                return;
            }
            if position.bytes > at.bytes {
                return;
            }
            self.as_of = Some(*asked);
            self.ahead.pop_front();
        }
    }

    /// The standby did not answer.
    pub(super) fn standby_failed(&mut self) {
        self.standby_answers = false;
    }

    /// Whether the standby may be read from, by a process that has last edited something at `edited`. While the primary does
    /// not answer a standby that has all that is known to have been committed will do, however long ago that was: there is nothing newer.
    pub(super) fn check(&self, now: Instant, edited: Option<Instant>) -> Result<(), Unfit> {
        if !self.standby_answers {
            return Err(Unfit::Away);
        }
        if edited.is_some_and(|edited| self.as_of.is_none_or(|as_of| as_of < edited)) {
            return Err(Unfit::Edited);
        }
        let is_newest = !self.primary_answers && self.ahead.is_empty();
        if is_newest || self.age(now).is_some_and(|age| age <= AGE_MAX) {
            Ok(())
        } else {
            Err(Unfit::Lagging)
        }
    }

    /// How old what the standby has may be, once that is known.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        self.as_of.map(|as_of| now.saturating_duration_since(as_of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[expect(clippy::unnecessary_wraps, reason = "what a server has answered, if it has")]
    fn at(bytes: i64) -> Option<Position> {
        Some(Position { system: 7, bytes })
    }

    #[test]
    fn a_standby_is_as_old_as_the_newest_position_that_it_has_reached() {
        let start = Instant::now();
        let mut progress = Progress::default();
        assert_eq!(progress.check(start, None), Err(Unfit::Away));
        progress.primary(start, at(100));
        progress.standby(at(99));
        assert_eq!(progress.check(start, None), Err(Unfit::Lagging));
        progress.primary(start + 250 * MS, at(200));
        progress.standby(at(150));
        assert_eq!(progress.age(start + 300 * MS), Some(300 * MS));
        assert_eq!(progress.check(start + 1_000 * MS, None), Ok(()));
        assert_eq!(progress.check(start + 1_001 * MS, None), Err(Unfit::Lagging));
        // Nothing is written, and it is not older for that.
        for tick in 1..100 {
            progress.primary(start + tick * 250 * MS, at(200));
            progress.standby(at(200));
            assert_eq!(progress.check(start + (tick * 250 + 10) * MS, None), Ok(()));
        }
    }

    #[test]
    fn one_that_is_far_behind_is_known_again_once_it_has_caught_up() {
        let start = Instant::now();
        let mut progress = Progress::default();
        for tick in 0..1_000 {
            progress.primary(start + tick * 250 * MS, at(i64::from(tick)));
            progress.standby(at(-1));
        }
        assert_eq!(progress.ahead.len(), SEEN_MAX);
        let now = start + 250_000 * MS;
        assert_eq!(progress.check(now, None), Err(Unfit::Lagging));
        progress.standby(at(999));
        assert_eq!(progress.age(now), Some(250 * MS));
    }

    #[test]
    fn what_was_edited_here_has_to_be_there() {
        let start = Instant::now();
        let mut progress = Progress::default();
        let edited = Some(start + MS);
        progress.primary(start, at(1));
        progress.standby(at(1));
        assert_eq!(progress.check(start + 2 * MS, None), Ok(()));
        assert_eq!(progress.check(start + 2 * MS, edited), Err(Unfit::Edited));
        progress.primary(start + 3 * MS, None);
        assert_eq!(progress.check(start + 3 * MS, edited), Err(Unfit::Edited), "nor without the primary");
        progress.primary(start + 4 * MS, at(2));
        progress.standby(at(2));
        assert_eq!(progress.check(start + 4 * MS, edited), Ok(()));
    }

    #[test]
    fn without_the_primary_one_that_has_all_will_do() {
        let start = Instant::now();
        let late = start + 60_000 * MS;
        let mut progress = Progress::default();
        progress.primary(start, None);
        progress.standby(at(5));
        assert_eq!(progress.check(late, None), Ok(()), "the primary was away from the beginning");
        progress.primary(start, at(10));
        progress.primary(start, None);
        progress.standby(at(9));
        assert_eq!(progress.check(late, None), Err(Unfit::Lagging));
        progress.standby(at(10));
        assert_eq!(progress.check(late, None), Ok(()));
        progress.standby_failed();
        assert_eq!(progress.check(late, None), Err(Unfit::Away));
    }

    #[test]
    fn the_standby_of_another_system_is_none() {
        let start = Instant::now();
        let mut progress = Progress::default();
        progress.primary(start, at(10));
        progress.standby(Some(Position { system: 8, bytes: 1_000 }));
        assert_eq!(progress.check(start, None), Err(Unfit::Away));
    }
}
