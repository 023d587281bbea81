//! The way of a view from a replica through the broker to the database, as a state machine small enough that every
//! order of events can be tried: sends and confirms that are lost, batches delivered twice, processes killed at any
//! moment. [Stateright](https://docs.rs/stateright) tries them.
//!
//! It is the protocol that is checked here, not the code: the fault tests do that. [`Flaw`] makes each of the mistakes
//! that the protocol must not have, and has to be found out.

mod state;

use stateright::{Model, Property};

pub use state::{BatchId, Held, State};

/// How much may happen.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Views that clients are answered, at most.
    pub views_max: u8,
    /// Workers, side by side.
    pub workers: usize,
    /// How often the replica is killed, at most.
    pub replica_kills_max: u8,
    /// How often a worker is killed or cut off from the broker, at most.
    pub worker_kills_max: u8,
    /// How often a batch is sent, at most.
    pub sends_max: u8,
    /// Whether closed windows survive the replica.
    pub spool: bool,
    /// What is wrong with the protocol, if anything.
    pub flaw: Option<Flaw>,
}

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The worker acknowledges before it commits.
    AcksBeforeCommit,
    /// The worker does not look whether it has counted a batch.
    ForgetsBatchIds,
    /// The replica takes a batch that it sent for one that arrived.
    TrustsSends,
    /// A batch that is sent again has another id.
    NewIdForEachSend,
    /// Closed windows are not in the spool.
    KeepsWindowsInMemory,
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A client is answered.
    View,
    /// The replica makes a batch of the open window.
    Close,
    /// The replica sends a batch, maybe not for the first time, and the broker stores it.
    Send(BatchId),
    /// The replica sends a batch, which is lost on the way.
    SendInVain(BatchId),
    /// The broker's confirm arrives.
    Confirm(BatchId),
    /// The replica dies and starts again.
    KillReplica,
    /// The broker delivers a batch to that worker.
    Deliver(usize, BatchId),
    /// That worker commits what it holds.
    Commit(usize),
    /// That worker acknowledges what it has committed.
    Ack(usize),
    /// That worker, or its connection, dies: the broker has its open deliveries again.
    KillWorker(usize),
}

impl Default for Pipeline {
    /// Two views, two workers, and one kill of the replica and of a worker, without a spool.
    fn default() -> Self {
        Self {
            views_max: 2,
            workers: 2,
            replica_kills_max: 1,
            worker_kills_max: 1,
            sends_max: 2,
            spool: false,
            flaw: None,
        }
    }
}

impl Model for Pipeline {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.workers)]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        events.extend((state.answered < self.views_max).then_some(Event::View));
        events.extend((state.open > 0).then_some(Event::Close));
        for (&id, sends) in &state.unconfirmed {
            if *sends < self.sends_max {
                events.extend([Event::Send(id), Event::SendInVain(id)]);
            }
            events.extend(state.was_stored(id).then_some(Event::Confirm(id)));
        }
        events.extend((state.replica_kills < self.replica_kills_max).then_some(Event::KillReplica));
        for (worker, held) in state.workers.iter().enumerate() {
            if !held.committed {
                events.extend(state.queue.iter().map(|id| Event::Deliver(worker, *id)));
            }
            if !held.batches.is_empty() {
                events.push(if held.committed { Event::Ack(worker) } else { Event::Commit(worker) });
                events.extend(
                    (state.worker_kills < self.worker_kills_max).then_some(Event::KillWorker(worker)),
                );
            }
        }
    }

    fn next_state(&self, before: &State, event: Event) -> Option<State> {
        let mut state = before.clone();
        match event {
            Event::View => state.view(),
            Event::Close => state.close(),
            Event::Send(id) => state.send(id, true, self.flaw),
            Event::SendInVain(id) => state.send(id, false, self.flaw),
            Event::Confirm(id) => state.confirm(id),
            Event::KillReplica => {
                state.kill_replica(self.spool && self.flaw != Some(Flaw::KeepsWindowsInMemory));
            }
            Event::Deliver(worker, id) => state.deliver(worker, id),
            Event::Commit(worker) => state.commit(worker, self.flaw),
            Event::Ack(worker) => state.ack(worker),
            Event::KillWorker(worker) => state.kill_worker(worker, self.flaw),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never twice", |_, state: &State| state.counted <= state.answered),
            Property::always("never lost once confirmed", |_, state: &State| {
                state.confirmed.iter().all(|id| state.is_safe(*id))
            }),
            Property::always("nothing is lost while no replica is killed", |_, state: &State| {
                state.replica_kills > 0 || state.answered == state.open + state.closed_views()
            }),
            Property::always("with a spool, no more than the open window is lost", |model, state: &State| {
                !model.spool || state.answered == state.open_lost + state.open + state.closed_views()
            }),
            Property::sometimes("everything is counted, killed or not", |model, state: &State| {
                state.counted == model.views_max && state.worker_kills == model.worker_kills_max
            }),
        ]
    }
}
