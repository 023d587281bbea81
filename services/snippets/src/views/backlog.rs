//! The batches of closed windows, until they are safe.

use std::{collections::VecDeque, mem, sync::Arc};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    batches::Batch,
    places::Places,
    spool::{Spool, Spooled},
};

/// Knows where each batch waits: in memory, where its snippets have their places, or in the spool, if there is one.
#[derive(Debug)]
pub(super) struct Backlog {
    state: watch::Sender<State>,
    places: Arc<Places>,
}

#[derive(Debug, Default)]
struct State {
    /// In memory, oldest first.
    held: VecDeque<Held>,
    /// On disk, oldest first, and older than those in memory.
    spooled: VecDeque<Spooled>,
    /// On disk, and could not be read lately.
    unreadable: Vec<Spooled>,
    /// On disk and safe: to be removed.
    removable: VecDeque<Spooled>,
    /// On disk and safe, and could not be removed lately.
    unremovable: Vec<Spooled>,
    /// What all files take, with those that may be there.
    spool_bytes: u64,
    /// What they may take; 0 without a spool.
    spool_bytes_max: u64,
    /// Whether what is in memory is written to disk before it is sent. It is not, while the disk fails.
    is_spooling: bool,
    /// Whether the last try to send something failed.
    is_stuck: bool,
}

/// A batch in memory.
#[derive(Debug)]
struct Held {
    batch: Batch,
    /// Its file, once somebody has begun to write it: it may be there, or be there later, whatever is known of the attempt.
    file: Option<Spooled>,
}

/// How much waits.
#[derive(Debug)]
pub(super) struct Waits {
    /// Batches in memory.
    pub(super) batches: usize,
    /// Their views.
    pub(super) views: u64,
    /// Batches on disk.
    pub(super) spooled: usize,
    /// What all files take.
    pub(super) spool_bytes: u64,
}

/// A batch whose turn it is to be sent.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Here it is.
    Held(Batch),
    /// It is on disk.
    Spooled(Uuid),
}

/// What is to be done on disk next.
#[derive(Debug)]
pub(super) enum DiskWork {
    /// These are safe.
    Remove(Vec<Uuid>),
    /// These are to be written before they are sent. None, if the next would not fit.
    Write(Vec<Batch>),
}

impl Backlog {
    /// A backlog of what is found in `spool`. Snippets of batches in memory have their places among these.
    pub(super) fn new(places: Arc<Places>, spool: Option<&mut Spool>) -> Self {
        let state = spool.map_or_else(State::default, |spool| {
            let spooled = VecDeque::from(spool.found());
            let spool_bytes = spooled.iter().map(|batch| batch.bytes).sum();
            State {
                spooled,
                spool_bytes,
                spool_bytes_max: spool.bytes_max(),
                is_spooling: true,
                ..State::default()
            }
        });
        Self { state: watch::Sender::new(state), places }
    }

    /// Adds the batches of a window that was closed.
    pub(super) fn add(&self, batches: Vec<Batch>) {
        if !batches.is_empty() {
            let held = batches.into_iter().map(|batch| Held { batch, file: None });
            self.state.send_modify(|state| state.held.extend(held));
        }
    }

    /// The oldest batches that may be sent, up to `max`; waits for one. They stay here.
    pub(super) async fn oldest(&self, max: usize) -> Vec<Waiting> {
        self.when(|state| state.sendable().next().is_some(), |state| state.sendable().take(max).collect())
            .await
    }

    /// Notes that a batch is safe, or never will be.
    pub(super) fn settle(&self, id: Uuid) {
        self.modify(|state, places| state.settle(id, places));
    }

    /// Forgets a batch whose file is not there any more, or is not one.
    pub(super) fn forget(&self, id: Uuid) {
        self.modify(|state, _| {
            if let Some(batch) = remove(&mut state.spooled, |batch| batch.id == id) {
                state.spool_bytes -= batch.bytes;
            }
        });
    }

    /// Leaves a batch alone that can't be read now.
    pub(super) fn set_aside(&self, id: Uuid) {
        self.modify(|state, _| state.unreadable.extend(remove(&mut state.spooled, |batch| batch.id == id)));
    }

    /// Lets those that could not be read or removed have their turn again, after the others.
    pub(super) fn try_again(&self) {
        self.modify(|state, _| {
            state.spooled.extend(mem::take(&mut state.unreadable));
            state.removable.extend(mem::take(&mut state.unremovable));
        });
    }

    /// Notes whether sending works.
    pub(super) fn sending(&self, works: bool) {
        self.state.send_if_modified(|state| mem::replace(&mut state.is_stuck, !works) == works);
    }

    /// What is to be done on disk next, for up to `max` batches; waits for it.
    pub(super) async fn disk_work(&self, max: usize) -> DiskWork {
        self.when(State::has_disk_work, |state| state.disk_work(max)).await
    }

    /// Notes that these are about to be written. What is sent from memory has its file removed after that.
    pub(super) fn writing(&self, files: &[Spooled]) {
        self.modify(|state, _| {
            for file in files {
                let held = state.held.iter_mut().find(|held| held.is(file.id) && held.file.is_none());
                if let Some(held) = held {
                    held.file = Some(*file);
                    state.spool_bytes += file.bytes;
                }
            }
        });
    }

    /// Notes that these, which were about to be written, are on disk for good.
    pub(super) fn written(&self, files: &[Spooled]) {
        self.modify(|state, places| {
            for file in files {
                // One that was sent meanwhile is to be removed already.
                if let Some(held) = remove(&mut state.held, |held| held.is(file.id)) {
                    places.free(held.batch.places);
                    state.spooled.extend(held.file);
                }
            }
        });
    }

    /// Notes that a batch is on disk no more.
    pub(super) fn removed(&self, id: Uuid) {
        self.modify(|state, _| {
            if let Some(batch) = remove(&mut state.removable, |batch| batch.id == id) {
                state.spool_bytes -= batch.bytes;
            }
        });
    }

    /// Leaves a batch alone that can't be removed now.
    pub(super) fn leave(&self, id: Uuid) {
        self.modify(|state, _| {
            state.unremovable.extend(remove(&mut state.removable, |batch| batch.id == id));
        });
    }

    /// Notes whether the disk works. What is in memory is sent from there while it does not.
    pub(super) fn spooling(&self, works: bool) {
        self.state.send_if_modified(|state| mem::replace(&mut state.is_spooling, works) != works);
    }

    /// Whether no batch is in memory.
    pub(super) fn memory_is_free(&self) -> bool {
        self.state.borrow().held.is_empty()
    }

    /// What waits.
    pub(super) fn waits(&self) -> Waits {
        let state = self.state.borrow();
        Waits {
            batches: state.held.len(),
            views: state.held.iter().map(|held| held.batch.views).sum(),
            spooled: state.spooled.len() + state.unreadable.len(),
            spool_bytes: state.spool_bytes,
        }
    }

    /// Returns once nothing is left to do that can be done: every batch is safe, or on disk while nothing can be sent.
    pub(super) async fn finished(&self) {
        let is_finished = |state: &State| {
            let is_sent = state.spooled.is_empty() && state.removable.is_empty();
            state.held.is_empty() && (is_sent || state.is_stuck)
        };
        self.when(is_finished, |_| ()).await;
    }

    fn modify(&self, change: impl FnOnce(&mut State, &Places)) {
        self.state.send_modify(|state| change(state, &self.places));
    }

    async fn when<T>(&self, is_so: impl FnMut(&State) -> bool, get: impl FnOnce(&State) -> T) -> T {
        let got = self.state.subscribe().wait_for(is_so).await.map(|state| get(&state));
        match got {
            Ok(got) => got,
            // Without a sender; but that is ours, so it does not happen.
            Err(_) => std::future::pending().await,
        }
    }
}

impl State {
    /// While the disk fails what is in memory goes first, as the rest may not be readable.
    fn sendable(&self) -> impl Iterator<Item = Waiting> {
        let held = (!self.is_spooling).then_some(&self.held).into_iter().flatten();
        let held = held.map(|held| Waiting::Held(held.batch.clone()));
        held.chain(self.spooled.iter().map(|batch| Waiting::Spooled(batch.id)))
    }

    fn settle(&mut self, id: Uuid, places: &Places) {
        if let Some(held) = remove(&mut self.held, |held| held.is(id)) {
            places.free(held.batch.places);
            self.removable.extend(held.file);
        } else if let Some(batch) = remove(&mut self.spooled, |batch| batch.id == id) {
            self.removable.push_back(batch);
        }
    }

    fn has_disk_work(&self) -> bool {
        self.spool_bytes_max > 0 && !(self.removable.is_empty() && self.held.is_empty())
    }

    /// First what makes room.
    fn disk_work(&self, max: usize) -> DiskWork {
        if !self.removable.is_empty() {
            return DiskWork::Remove(self.removable.iter().take(max).map(|batch| batch.id).collect());
        }
        let mut bytes = self.spool_bytes;
        let fits = |held: &&Held| {
            let file = held.file.is_none().then(|| Spooled::of(&held.batch));
            bytes += file.map_or(0, |file| file.bytes);
            bytes <= self.spool_bytes_max
        };
        let fitting = self.held.iter().take(max).take_while(fits);
        DiskWork::Write(fitting.map(|held| held.batch.clone()).collect())
    }
}

impl Held {
    fn is(&self, id: Uuid) -> bool {
        self.batch.pending.id == id
    }
}

/// Takes out the first that is meant; it is near the front.
fn remove<T>(queue: &mut VecDeque<T>, is_meant: impl FnMut(&T) -> bool) -> Option<T> {
    let at = queue.iter().position(is_meant)?;
    queue.remove(at)
}
