//! A count that ends at once, at a known time.

use super::{Decision, Hit, State, meter::Meter};

/// What a window remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Charged since it opened.
    pub used: u64,
    /// When it ends, in microseconds.
    pub ends_us: u64,
}

/// What counts by windows.
pub(super) trait Windows {
    /// What passes in a window.
    fn limit(&self) -> u64;

    /// When a window ends that opens now, in microseconds.
    fn ends_us(&self, now_us: u64) -> u64;
}

impl<W: Windows> Meter for W {
    type Memory = Window;

    fn memory(state: &State) -> Option<&Window> {
        if let State::Window(window) = state { Some(window) } else { None }
    }

    fn state(window: Window) -> State {
        State::Window(window)
    }

    fn limit(&self) -> u64 {
        Windows::limit(self)
    }

    fn capacity(&self) -> u64 {
        Windows::limit(self)
    }

    /// A window that has ended, or is empty again, is none.
    fn current(&self, window: Option<&Window>, now_us: u64) -> Window {
        let open = window.filter(|window| now_us < self.expires_us(window));
        open.copied().unwrap_or_else(|| Window { used: 0, ends_us: self.ends_us(now_us) })
    }

    fn remaining(&self, window: &Window) -> u64 {
        Windows::limit(self).saturating_sub(window.used)
    }

    fn add(&self, window: &mut Window, hit: Hit<'_>) {
        window.used += hit.cost;
    }

    fn subtract(&self, window: &mut Window, charged: Hit<'_>, decision: &Decision, _: u64) -> bool {
        let same = window.ends_us == charged.end_us(decision) && window.used > 0;
        if same {
            window.used = window.used.saturating_sub(charged.cost);
        }
        same
    }

    fn leases_until_us(&self, _: &Window, window: &Window, _: u64) -> u64 {
        window.ends_us
    }

    fn expires_us(&self, window: &Window) -> u64 {
        if window.used > 0 { window.ends_us } else { 0 }
    }

    fn has_room_us(&self, window: &Window, _: u64) -> u64 {
        window.ends_us
    }
}
