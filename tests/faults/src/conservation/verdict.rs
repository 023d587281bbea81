//! Whether what was counted is what was answered.

use std::collections::BTreeSet;
use std::fmt;

use crate::{Counts, sum};

/// What is known of all views when everything is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Reads that were answered.
    pub acknowledged: Counts,
    /// Reads without an answer, each of which was counted or not.
    pub unknown: Counts,
    /// By how much each count may be too low: a killed replica may have taken views with it, and what was counted of a
    /// snippet that is deleted is dropped.
    pub may_lack: Counts,
    /// What is counted in the end.
    pub counted: Counts,
}

/// The views of one snippet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    id: String,
    acknowledged: u64,
    unknown: u64,
    may_lack: u64,
    counted: u64,
}

/// The judgement about a [`Tally`]. It displays itself as a table of the snippets whose counts differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    tally: Tally,
    differing: Vec<Row>,
}

impl Verdict {
    /// Judges each snippet: acknowledged - may_lack <= counted <= acknowledged + unknown.
    pub fn of(tally: Tally) -> Self {
        let ids: BTreeSet<&String> = [&tally.acknowledged, &tally.unknown, &tally.counted]
            .into_iter()
            .flat_map(Counts::keys)
            .collect();
        let rows = ids.into_iter().map(|id| Row::of(id, &tally));
        let differing = rows.filter(|row| row.counted != row.acknowledged).collect();
        Self { tally, differing }
    }

    /// Whether no snippet has a view too many or too few.
    pub fn is_conserved(&self) -> bool {
        self.differing.iter().all(|row| row.fault().is_none())
    }
}

impl Row {
    fn of(id: &str, tally: &Tally) -> Self {
        let of = |counts: &Counts| counts.get(id).copied().unwrap_or(0);
        Self {
            id: id.to_owned(),
            acknowledged: of(&tally.acknowledged),
            unknown: of(&tally.unknown),
            may_lack: of(&tally.may_lack),
            counted: of(&tally.counted),
        }
    }

    fn fault(&self) -> Option<String> {
        let (least, most) =
            (self.acknowledged.saturating_sub(self.may_lack), self.acknowledged + self.unknown);
        if self.counted < least {
            Some(format!("{} too few", least - self.counted))
        } else {
            self.counted.checked_sub(most).filter(|&over| over > 0).map(|over| format!("{over} too many"))
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { acknowledged, unknown, may_lack, counted } = &self.tally;
        if !self.differing.is_empty() {
            writeln!(
                out,
                "{:12} {:>12} {:>8} {:>8} {:>8}",
                "snippet", "acknowledged", "unknown", "may lack", "counted"
            )?;
        }
        for row in &self.differing {
            let Row { id, acknowledged, unknown, may_lack, counted } = row;
            write!(out, "{id:12} {acknowledged:>12} {unknown:>8} {may_lack:>8} {counted:>8}")?;
            writeln!(out, "  {}", row.fault().unwrap_or_default())?;
        }
        write!(
            out,
            "{} snippets: {} views acknowledged, {} unknown, {} that may lack, {} counted",
            counted.len(),
            sum(acknowledged),
            sum(unknown),
            sum(may_lack),
            sum(counted)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|(id, views)| ((*id).to_owned(), *views)).collect()
    }

    fn verdict(unknown: u64, may_lack: u64, counted: u64) -> Verdict {
        Verdict::of(Tally {
            acknowledged: counts(&[("a", 10), ("b", 5)]),
            unknown: counts(&[("a", unknown)]),
            may_lack: counts(&[("a", may_lack)]),
            counted: counts(&[("a", counted), ("b", 5)]),
        })
    }

    fn is_conserved(unknown: u64, may_lack: u64, counted: u64) -> bool {
        verdict(unknown, may_lack, counted).is_conserved()
    }

    #[test]
    fn without_unknown_reads_and_kills_each_count_is_exact() {
        assert!(is_conserved(0, 0, 10));
        assert!(!is_conserved(0, 0, 9), "one too few");
        assert!(!is_conserved(0, 0, 11), "one too many");
    }

    #[test]
    fn a_read_without_an_answer_was_counted_or_not() {
        assert!(is_conserved(2, 0, 10) && is_conserved(2, 0, 11) && is_conserved(2, 0, 12));
        assert!(!is_conserved(2, 0, 9) && !is_conserved(2, 0, 13));
    }

    #[test]
    fn a_killed_replica_explains_a_loss_and_never_a_gain() {
        assert!(is_conserved(0, 3, 10) && is_conserved(0, 3, 7));
        assert!(!is_conserved(0, 3, 6) && !is_conserved(0, 3, 11));
    }

    #[test]
    fn one_snippets_surplus_does_not_make_up_for_anothers_lack() {
        let swapped = Tally {
            acknowledged: counts(&[("a", 10), ("b", 5)]),
            counted: counts(&[("a", 9), ("b", 6)]),
            ..Tally::default()
        };
        assert!(!Verdict::of(swapped).is_conserved());
    }

    #[test]
    fn a_snippet_that_is_not_counted_at_all_or_was_never_read_is_noticed() {
        let missing = Tally { acknowledged: counts(&[("a", 1)]), ..Tally::default() };
        assert!(!Verdict::of(missing).is_conserved());
        let made_up = Tally { counted: counts(&[("a", 1)]), ..Tally::default() };
        assert!(!Verdict::of(made_up).is_conserved());
    }

    #[test]
    fn the_table_has_the_snippets_that_differ() {
        let table = verdict(0, 0, 12).to_string();
        assert!(table.contains("2 too many") && !table.contains("b  "), "{table}");
        assert_eq!(verdict(0, 0, 10).to_string().lines().count(), 1);
    }
}
