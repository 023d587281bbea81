//! What clients do all the while.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rpc::snippets::v1::SnippetView;
use tokio::time::sleep;

use super::clock::Clock;
use super::losses::Losses;
use crate::flood::READ_WITHIN;
use crate::lanes::{Lane, Lanes};
use crate::{Client, Counts, Rig, Views};

const SNIPPETS: u32 = 40;
/// Readers of each replica, and from one read to the next.
const READERS: u64 = 4;
const PACE: Duration = Duration::from_millis(12);
/// From one snippet that is made, read and later deleted to the next: few enough for the limits on writes.
const MAKING_PACE: Duration = Duration::from_secs(1);
/// How many of those there are at a time.
const MADE_MAX: usize = 3;
/// Steps of a lane at most: more than in the longest schedule.
const STEPS_MAX: usize = 1_000_000;
/// After a read that failed: whoever is refused at once does not try again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Readers, most of whose reads are views of few snippets, and somebody who makes and deletes others.
#[derive(Debug)]
pub struct Load {
    shared: Shared,
    lanes: Lanes<()>,
}

/// What was answered to whom.
#[derive(Debug)]
pub struct Answered {
    /// Views.
    pub acknowledged: Counts,
    /// Reads without an answer.
    pub unknown: Counts,
    /// Snippets that were deleted, or may be: what is counted of them is dropped at some time.
    pub deleted: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Shared {
    clock: Clock,
    views: Arc<Views>,
    losses: Arc<Losses>,
    deleted: Arc<Mutex<BTreeSet<String>>>,
}

impl Load {
    /// Makes the snippets, then reads them in an order that follows from `seed`, for each reader by itself.
    pub async fn start(rig: &Rig, seed: u64, clock: Clock, losses: Arc<Losses>) -> anyhow::Result<Self> {
        let ids: Arc<[String]> = rig.snippets(SNIPPETS as usize).await?.into();
        let popularity = WeightedIndex::new((1..=SNIPPETS).map(|rank| 1.0 / f64::from(rank)))?;
        let shared = Shared { clock, views: Arc::default(), losses, deleted: Arc::default() };
        let callers = shared.callers(rig)?;
        let mut lanes = Lanes::new(STEPS_MAX);
        for (caller, number) in callers.iter().flat_map(|caller| (0..READERS).map(move |lane| (caller, lane)))
        {
            let seed = seed.wrapping_mul(31).wrapping_add(number * 2 + caller.replica as u64);
            let rng = StdRng::seed_from_u64(seed);
            let (caller, ids, popularity) = (caller.clone(), Arc::clone(&ids), popularity.clone());
            lanes.add(PACE, Reader { caller, ids, popularity, rng });
        }
        lanes.add(MAKING_PACE, Maker { callers, made: VecDeque::new(), rng: StdRng::seed_from_u64(seed) });
        Ok(Self { shared, lanes })
    }

    /// Lets every call finish.
    pub async fn stop(self) -> Answered {
        self.lanes.stop().await;
        let Shared { views, deleted, .. } = self.shared;
        let deleted = deleted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Answered { acknowledged: views.acknowledged(), unknown: views.unknown(), deleted }
    }
}

/// Callers of one replica.
#[derive(Debug, Clone)]
struct Caller {
    replica: usize,
    anonymous: Client,
    owner: Client,
    shared: Shared,
}

impl Shared {
    fn callers(&self, rig: &Rig) -> anyhow::Result<Vec<Caller>> {
        let readers = rig.readers()?.into_iter().enumerate();
        let callers = readers.map(|(replica, client)| {
            let anonymous = client.within(READ_WITHIN);
            Caller { replica, owner: rig.owner(&anonymous), anonymous, shared: self.clone() }
        });
        Ok(callers.collect())
    }
}

impl Caller {
    async fn view(&self, id: &str) -> bool {
        let Shared { clock, views, losses, .. } = &self.shared;
        let asked_at = clock.now();
        let is_answered = views.read(&self.anonymous, id).await.is_ok();
        if is_answered {
            losses.answered(self.replica, id, asked_at, clock.now());
        }
        is_answered
    }

    async fn delete(&self, id: &str) {
        self.shared.deleted.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        let _ = self.owner.delete(id).await;
    }
}

struct Reader {
    caller: Caller,
    ids: Arc<[String]>,
    popularity: WeightedIndex<f64>,
    rng: StdRng,
}

impl Lane for Reader {
    type End = ();

    async fn step(&mut self) -> Option<()> {
        let id = &self.ids[self.rng.sample(&self.popularity)];
        let is_answered = match self.rng.random_range(0..20) {
            0 => self.caller.anonymous.look(id).await.is_ok(),
            1 => self.caller.owner.get(id, SnippetView::Full).await.is_ok(),
            _ => self.caller.view(id).await,
        };
        if !is_answered {
            sleep(PAUSE).await;
        }
        None
    }
}

/// Makes a snippet, has it read, and deletes an older one.
struct Maker {
    callers: Vec<Caller>,
    made: VecDeque<String>,
    rng: StdRng,
}

impl Lane for Maker {
    type End = ();

    async fn step(&mut self) -> Option<()> {
        let (maker, deleter) = (self.any(), self.any());
        let views = self.rng.random_range(1..4);
        if let Ok(snippet) = self.callers[maker].owner.create("soon deleted").await {
            for _ in 0..views {
                for caller in &self.callers {
                    caller.view(&snippet.id).await;
                }
            }
            self.made.push_back(snippet.id);
        }
        if self.made.len() > MADE_MAX
            && let Some(id) = self.made.pop_front()
        {
            self.callers[deleter].delete(&id).await;
        }
        None
    }
}

impl Maker {
    fn any(&mut self) -> usize {
        self.rng.random_range(0..self.callers.len())
    }
}
