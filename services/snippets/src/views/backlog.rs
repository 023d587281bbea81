//! The batches of closed windows, until they are safe.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::watch;
use uuid::Uuid;

use super::{batches::Batch, places::Places};
use crate::ports::PendingBatch;

/// Holds batches, oldest first, with the places of their snippets.
#[derive(Debug)]
pub(super) struct Backlog {
    held: watch::Sender<VecDeque<Batch>>,
    places: Arc<Places>,
}

impl Backlog {
    /// An empty backlog, whose snippets have their places among these.
    pub(super) fn new(places: Arc<Places>) -> Self {
        Self { held: watch::Sender::default(), places }
    }

    /// Adds the batches of a window that was closed.
    pub(super) fn add(&self, batches: Vec<Batch>) {
        if !batches.is_empty() {
            self.held.send_modify(|held| held.extend(batches));
        }
    }

    /// The oldest batches, up to `max`; waits for one. They stay here.
    pub(super) async fn oldest(&self, max: usize) -> Vec<PendingBatch> {
        let mut held = self.held.subscribe();
        match held.wait_for(|held| !held.is_empty()).await {
            Ok(held) => held.iter().take(max).map(|batch| batch.pending.clone()).collect(),
            // Without a sender; but that is ours.
            Err(_) => Vec::new(),
        }
    }

    /// Forgets a batch, if it is here.
    pub(super) fn remove(&self, id: Uuid) -> Option<Batch> {
        let mut removed = None;
        self.held.send_modify(|held| {
            let at = held.iter().position(|batch| batch.pending.id == id);
            removed = at.and_then(|at| held.remove(at));
        });
        if let Some(batch) = &removed {
            self.places.free(batch.snippets);
        }
        removed
    }

    /// How many batches are here.
    pub(super) fn len(&self) -> usize {
        self.held.borrow().len()
    }

    /// Returns once every batch is safe.
    pub(super) async fn emptied(&self) {
        // It fails only without a sender, which is ours.
        let _ = self.held.subscribe().wait_for(VecDeque::is_empty).await;
    }
}
