//! What killed replicas may have taken with them.
//!
//! A view that was answered is with the replica alone until the broker has confirmed its batch, or until it is in the
//! replica's spool on disk, if it has one. Views that were answered before that, as far as it is known, have to be counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stack::sum_samples;

use crate::Counts;

/// How long a replica may take to get a view into its spool: fifteen windows of 200 ms, as the machine is busy.
const WINDOW: Duration = Duration::from_secs(3);
const VIEWS_BATCHED: &str = "snippets_views_batched_total";
const VIEWS_CONFIRMED: &str = "snippets_views_confirmed_total";

/// The account of all replicas. All times are from the beginning of the schedule.
#[derive(Debug)]
pub struct Losses {
    keep_spool: bool,
    replicas: Vec<Mutex<Replica>>,
}

/// What a replica says of its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    views_batched: u64,
    views_confirmed: u64,
}

#[derive(Debug, Default)]
struct Replica {
    answered: Vec<View>,
    /// When a sample was asked for, and how many windows were known to be through by then: the samples that may still tell
    /// something, of this life of the process.
    samples: Vec<(Duration, u64)>,
    /// The last number of views in closed windows, and how often it was seen to rise.
    batched: (u64, u64),
    /// When this life began.
    since: Duration,
    /// Up to when everything that was answered is known to be confirmed.
    safe_until: Duration,
    deaths: Vec<Death>,
}

#[derive(Debug)]
struct View {
    id: String,
    asked_at: Duration,
    answered_at: Duration,
}

/// Views that were asked for before `at` and answered after `safe_until` may be lost.
#[derive(Debug)]
struct Death {
    safe_until: Duration,
    at: Duration,
}

impl Losses {
    /// That many replicas; with `keep_spool` they keep unconfirmed windows on disk.
    pub fn new(replicas: usize, keep_spool: bool) -> Self {
        Self { keep_spool, replicas: (0..replicas).map(|_| Mutex::default()).collect() }
    }

    /// Notes a view.
    pub fn answered(&self, replica: usize, id: &str, asked_at: Duration, answered_at: Duration) {
        self.lock(replica).answered.push(View { id: id.to_owned(), asked_at, answered_at });
    }

    /// Notes what the replica said to a question that was asked at that time.
    pub fn sampled(&self, replica: usize, sample: Sample, asked_at: Duration) {
        self.lock(replica).sampled(sample, asked_at);
    }

    /// Notes that the replica was killed: not before `begin`, and it was dead at `end`. Gives the time until when everything
    /// that it had answered is safe.
    pub fn killed(&self, replica: usize, begin: Duration, end: Duration) -> Duration {
        let spooled_until = self.keep_spool.then(|| begin.saturating_sub(WINDOW));
        self.lock(replica).killed(spooled_until, end)
    }

    /// By how much each snippet's count may be too low.
    pub fn losable(&self) -> Counts {
        let mut counts = Counts::new();
        for index in 0..self.replicas.len() {
            let replica = self.lock(index);
            for view in replica.answered.iter().filter(|view| replica.may_have_lost(view)) {
                *counts.entry(view.id.clone()).or_default() += 1;
            }
        }
        counts
    }

    fn lock(&self, replica: usize) -> MutexGuard<'_, Replica> {
        self.replicas[replica].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica {
    fn sampled(&mut self, sample: Sample, asked_at: Duration) {
        // It may be the answer of a process that was killed since.
        if asked_at < self.since {
            return;
        }
        let windows = self.windows(sample);
        self.samples.push((asked_at, windows));
        if sample.views_confirmed < sample.views_batched {
            return;
        }
        // The first window that was through since then may have been closed before, the second was not.
        if let Some(proven) = self.samples.iter().rposition(|(_, earlier)| windows >= earlier + 2) {
            self.safe_until = self.samples[proven].0;
            self.samples.drain(..proven);
        }
    }

    /// How many windows were seen to be closed.
    fn windows(&mut self, sample: Sample) -> u64 {
        let (before, rises) = self.batched;
        self.batched = (sample.views_batched, rises + u64::from(sample.views_batched > before));
        self.batched.1
    }

    fn killed(&mut self, spooled_until: Option<Duration>, at: Duration) -> Duration {
        let safe_until = spooled_until.unwrap_or(self.safe_until);
        self.deaths.push(Death { safe_until, at });
        self.samples.clear();
        self.batched = (0, 0);
        (self.since, self.safe_until) = (at, at);
        safe_until
    }

    fn may_have_lost(&self, view: &View) -> bool {
        self.deaths.iter().any(|death| view.asked_at < death.at && view.answered_at > death.safe_until)
    }
}

impl Sample {
    /// From the text of `/metrics`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are small and not negative"
    )]
    pub fn of(metrics: &str) -> Self {
        let count = |selector| sum_samples(metrics, selector).round() as u64;
        Self { views_batched: count(VIEWS_BATCHED), views_confirmed: count(VIEWS_CONFIRMED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// From second 1 to 20 a view each, of the snippet that is called like the second, asked for half a second before.
    fn losses(keep_spool: bool) -> Losses {
        let losses = Losses::new(2, keep_spool);
        for second in 1..=20 {
            let asked_at = seconds(second - 1) + Duration::from_millis(500);
            losses.answered(0, &second.to_string(), asked_at, seconds(second));
        }
        losses
    }

    fn lost(losses: &Losses) -> Vec<u64> {
        let mut lost: Vec<u64> = losses.losable().keys().map(|id| id.parse().unwrap()).collect();
        lost.sort_unstable();
        lost
    }

    fn views(batched: u64, confirmed: u64) -> Sample {
        Sample { views_batched: batched, views_confirmed: confirmed }
    }

    #[test]
    fn who_lives_loses_nothing() {
        assert!(losses(false).losable().is_empty());
    }

    #[test]
    fn with_a_spool_only_the_window_before_the_kill_is_lost() {
        let losses = losses(true);
        losses.killed(0, seconds(10), seconds(11));
        assert_eq!(lost(&losses), [8, 9, 10, 11], "11 was under way");
    }

    #[test]
    fn without_one_everything_since_the_last_proof_is() {
        let losses = losses(false);
        for (second, batched, confirmed) in
            [(3, 10, 10), (4, 12, 12), (5, 15, 14), (6, 15, 15), (7, 19, 15), (8, 22, 15)]
        {
            losses.sampled(0, views(batched, confirmed), seconds(second));
        }
        losses.killed(0, seconds(9), seconds(9));
        assert_eq!(
            lost(&losses),
            [4, 5, 6, 7, 8, 9],
            "at 6 two windows were through that were closed after 3"
        );
    }

    #[test]
    fn the_numbers_of_one_life_prove_nothing_in_the_next() {
        let losses = losses(false);
        losses.sampled(0, views(1, 1), seconds(5));
        losses.killed(0, seconds(8), seconds(8));
        losses.sampled(0, views(90, 90), seconds(7));
        losses.sampled(0, views(2, 2), seconds(10));
        losses.killed(0, seconds(18), seconds(18));
        assert_eq!(lost(&losses), (1..=18).collect::<Vec<_>>(), "nothing was ever proven");
    }

    #[test]
    fn the_next_life_answers_for_itself() {
        let losses = losses(true);
        losses.killed(0, seconds(5), seconds(5));
        losses.killed(0, seconds(15), seconds(15));
        assert_eq!(lost(&losses), [3, 4, 5, 13, 14, 15]);
    }

    #[test]
    fn metrics_are_read_by_name() {
        let text = "snippets_views_batched_total 40\nsnippets_views_confirmed_total 30\n";
        let sample = Sample { views_batched: 40, views_confirmed: 30 };
        assert_eq!(Sample::of(text), sample);
    }
}
