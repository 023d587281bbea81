//! The views by which lists are ordered, brought up to date now and then.

use crate::ports::{CopiedViews, SnippetLists, StoreError};
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How long after a round the next one begins.
const ROUND_INTERVAL: Duration = Duration::from_secs(8);
/// How often a replica looks whether it is time.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Between two steps of a round, so that it does not take the store for itself.
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// Copies the views of all snippets, round after round, to where lists are ordered by them.
pub struct ListViews {
    lists: Arc<dyn SnippetLists>,
}

impl ListViews {
    /// For these lists.
    pub fn new(lists: Arc<dyn SnippetLists>) -> Self {
        Self { lists }
    }

    /// Goes on until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let copying = async {
            let mut away = false;
            loop {
                ticks.tick().await;
                let copied = self.copy().await;
                if let (Err(error), false) = (&copied, away) {
                    tracing::warn!(%error, "views can't be copied, lists keep their order");
                }
                away = copied.is_err();
            }
        };
        stop.run_until_cancelled(copying).await;
    }

    /// The rest of a round, as long as nobody else goes on with it.
    async fn copy(&self) -> Result<(), StoreError> {
        while self.lists.copy_views(ROUND_INTERVAL).await? == CopiedViews::Some {
            sleep(STEP_PAUSE).await;
        }
        Ok(())
    }
}
