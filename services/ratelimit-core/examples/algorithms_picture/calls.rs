//! The calls that every algorithm is shown. Times are in thousandths of a period.

/// Where the picture ends.
pub const END: u64 = 7_500;

/// Calls that are evenly spaced.
pub struct Phase {
    /// What the picture calls it, if it has a name of its own.
    pub label: Option<&'static str>,
    first: u64,
    step: u64,
    count: u64,
}

/// The first call opens a window at 300, so the two bursts after it meet where that window ends, at 1300. The overload
/// goes over two midnights, and the last burst comes after everything has been forgotten.
pub const PHASES: [Phase; 6] = [
    Phase { label: Some("1 call"), first: 300, step: 0, count: 1 },
    Phase { label: None, first: 1_060, step: 20, count: 12 },
    Phase { label: Some("12 + 12 calls"), first: 1_310, step: 20, count: 12 },
    Phase { label: Some("4 times the limit"), first: 2_600, step: 25, count: 96 },
    Phase { label: Some("20 calls, then the limit’s rate"), first: 6_400, step: 16, count: 20 },
    Phase { label: None, first: 6_800, step: 100, count: 7 },
];

impl Phase {
    /// Its calls, in order.
    pub fn calls(&self) -> impl Iterator<Item = u64> + Clone {
        (0..self.count).map(|number| self.first + number * self.step)
    }

    /// Where its label goes: its middle.
    pub fn middle(&self) -> u64 {
        self.first + self.step * (self.count - 1) / 2
    }
}

/// All calls, in order.
pub fn calls() -> impl Iterator<Item = u64> + Clone {
    PHASES.iter().flat_map(Phase::calls)
}
