//! A count that ends at once, at a known time.

/// What a window remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Charged since it opened.
    pub used: u64,
    /// When it ends, in microseconds.
    pub ends_us: u64,
}

impl Window {
    /// The window as it stands now: this one, or if it has ended or is empty again a new one with that end.
    pub(super) fn current(known: Option<&Self>, now_us: u64, new_ends_us: impl FnOnce() -> u64) -> Self {
        let open = known.filter(|window| now_us < window.expires_us());
        open.copied().unwrap_or_else(|| Self { used: 0, ends_us: new_ends_us() })
    }

    /// Takes a cost back that was charged to the window with that end.
    pub(super) fn subtract(&mut self, cost: u64, ends_us: u64) -> bool {
        let same = self.ends_us == ends_us && self.used > 0;
        if same {
            self.used = self.used.saturating_sub(cost);
        }
        same
    }

    /// From then on it says nothing that no window would not.
    pub(super) fn expires_us(&self) -> u64 {
        if self.used > 0 { self.ends_us } else { 0 }
    }
}
