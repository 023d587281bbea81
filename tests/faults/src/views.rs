//! The tally of what clients were answered, to be compared with what the product counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::ensure;
use rpc::snippets::v1::{Snippet, SnippetView};
use stack::eventually;
use tonic::Status;

use crate::client::had_no_effect;
use crate::{Client, PATIENCE};

/// Views by snippet id.
pub type Counts = BTreeMap<String, u64>;

/// Reads snippets, and tallies each answer as the one view that it is.
#[derive(Debug, Default)]
pub struct Views(Mutex<Tally>);

#[derive(Debug, Default)]
struct Tally {
    acknowledged: Counts,
    unknown: Counts,
}

impl Views {
    /// Reads all of a snippet. A read that ends without an answer is tallied apart: it was counted, or it was not. One
    /// that was refused is no view.
    pub async fn read(&self, client: &Client, id: &str) -> Result<Snippet, Status> {
        let answer = client.get(id, SnippetView::Full).await;
        let mut tally = self.lock();
        match &answer {
            Ok(_) => *tally.acknowledged.entry(id.to_owned()).or_default() += 1,
            Err(status) if had_no_effect(status) => {}
            Err(_) => *tally.unknown.entry(id.to_owned()).or_default() += 1,
        }
        answer
    }

    /// Reads a snippet that many times, one after the other; gives the last answer.
    pub async fn read_times(&self, client: &Client, id: &str, times: usize) -> Result<Snippet, Status> {
        let mut last = Snippet::default();
        for _ in 0..times {
            last = self.read(client, id).await?;
        }
        Ok(last)
    }

    /// What was answered so far.
    pub fn acknowledged(&self) -> Counts {
        self.lock().acknowledged.clone()
    }

    /// The reads so far that may have been counted, although no answer has come.
    pub fn unknown(&self) -> Counts {
        self.lock().unknown.clone()
    }

    /// What was answered so far, altogether.
    pub fn total(&self) -> u64 {
        sum(&self.lock().acknowledged)
    }

    /// Waits until `view_count` is what was answered, for every snippet, as told by that replica.
    pub async fn until_counted(&self, client: &Client) -> anyhow::Result<()> {
        let expected = self.acknowledged();
        let counted = eventually(PATIENCE, async || {
            let counted = view_counts(client, &expected).await?;
            ensure!(sum(&counted) >= sum(&expected), "{} of {} are counted", sum(&counted), sum(&expected));
            Ok(counted)
        });
        let counted = counted.await?;
        ensure!(counted == expected, "counted {counted:?}, not {expected:?}");
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All views together.
pub fn sum(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// `view_count` of these snippets.
pub(crate) async fn view_counts(client: &Client, of: &Counts) -> anyhow::Result<Counts> {
    let mut counted = Counts::new();
    for id in of.keys() {
        counted.insert(id.clone(), client.look(id).await?.view_count);
    }
    Ok(counted)
}
