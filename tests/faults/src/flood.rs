//! Many readers at once, at a bounded pace.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use stack::until;
use tonic::Status;

use crate::lanes::{Lane, Lanes};
use crate::{Client, PATIENCE, Views};

/// Readers of each replica.
const LANES: u64 = 4;
/// From one read of a lane to the next.
const PACE: Duration = Duration::from_millis(2);
/// Reads of a lane at most.
const READS_MAX: usize = 50_000;
/// A read waits for neither a counter, nor the broker, nor the worker. Waiting for any of them would take longer:
/// services give the broker 5 s to answer.
pub(crate) const READ_WITHIN: Duration = Duration::from_secs(3);

/// Readers that go on until they are stopped, or have seen a read fail.
#[derive(Debug)]
pub struct Flood {
    views: Arc<Views>,
    lanes: Lanes<(String, Status)>,
}

impl Flood {
    /// Reads these snippets through these clients in an order that follows from `seed`.
    pub fn start(views: &Arc<Views>, clients: &[Client], ids: &[String], seed: u64) -> Self {
        let mut lanes = Lanes::new(READS_MAX);
        for (client, lane) in clients.iter().flat_map(|client| (0..LANES).map(move |lane| (client, lane))) {
            let reader = Reader {
                views: Arc::clone(views),
                client: client.within(READ_WITHIN),
                ids: ids.to_vec(),
                rng: StdRng::seed_from_u64(seed.wrapping_add(lane)),
            };
            lanes.add(PACE, reader);
        }
        Self { views: Arc::clone(views), lanes }
    }

    /// Waits until that many more reads were answered.
    pub async fn answered(&self, reads: u64) -> anyhow::Result<()> {
        let goal = self.views.total() + reads;
        let what = format!("{reads} more reads are answered");
        until(&what, PATIENCE, async || self.views.total() >= goal).await
    }

    /// Lets every read finish, and gives those that failed with the snippet they were for. A lane ends with the
    /// first, so there is one of a lane at most.
    pub async fn stop(self) -> Vec<(String, Status)> {
        self.lanes.stop().await
    }
}

struct Reader {
    views: Arc<Views>,
    client: Client,
    ids: Vec<String>,
    rng: StdRng,
}

impl Lane for Reader {
    type End = (String, Status);

    async fn step(&mut self) -> Option<Self::End> {
        let id = self.ids[self.rng.random_range(0..self.ids.len())].clone();
        let read = self.views.read(&self.client, &id).await;
        read.err().map(|status| (id, status))
    }
}
