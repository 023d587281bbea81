//! The bound on snippets whose views wait, wherever they do.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the snippets in the open window and those in closed ones that memory holds. Together they are bounded.
#[derive(Debug)]
pub(super) struct Places {
    open: AtomicUsize,
    closed: AtomicUsize,
    max: usize,
}

impl Places {
    /// Places for `max` snippets.
    pub(super) fn new(max: usize) -> Self {
        Self { open: AtomicUsize::new(0), closed: AtomicUsize::new(0), max }
    }

    /// Takes a place in the open window, and tells how many are taken there; none, if there is none.
    pub(super) fn take(&self) -> Option<usize> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        if open + self.closed() > self.max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(open)
    }

    /// Notes that so many of the open window's are in a closed one now. Between the two steps the bound may be passed by
    /// the few that come then, which is better than to turn views away while there is room.
    pub(super) fn close(&self, snippets: usize) {
        self.open.fetch_sub(snippets, Ordering::Relaxed);
        self.closed.fetch_add(snippets, Ordering::Relaxed);
    }

    /// Gives back so many places of closed windows.
    pub(super) fn free(&self, snippets: usize) {
        self.closed.fetch_sub(snippets, Ordering::Relaxed);
    }

    /// How many are taken in the open window.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many are taken in closed windows.
    pub(super) fn closed(&self) -> usize {
        self.closed.load(Ordering::Relaxed)
    }
}
