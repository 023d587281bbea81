//! Puts rules in force that have changed on disk.

use std::{path::PathBuf, sync::Arc, time::Duration};

use metrics::{counter, gauge};
use ratelimit_core::RuleSet;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    Limiter,
    rules::{self, LoadError},
};

/// How often the rules are looked at. They are compared by content: a file may have been replaced by rename, by a symbolic
/// link that leads elsewhere, or within the same second.
const INTERVAL: Duration = Duration::from_secs(2);

/// Loads the rules anew when they change, and at each SIGHUP. What is not valid is not put in force: the rules before
/// stay.
pub struct Reloader {
    path: PathBuf,
    limiter: Arc<Limiter>,
    /// What was refused last, so that it is told once.
    refused: Option<String>,
}

impl Reloader {
    /// Follows the file or folder at that path.
    pub fn new(path: PathBuf, limiter: Arc<Limiter>) -> Self {
        gauge!("ratelimit_rules_valid").set(1.0);
        Self { path, limiter, refused: None }
    }

    /// Follows it until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut hangup = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "SIGHUP can't be heard"))
            .ok();
        while let Some(asked) = stop.run_until_cancelled(wait(&mut hangup)).await {
            self.look(asked).await;
        }
    }

    async fn look(&mut self, asked: bool) {
        let path = self.path.clone();
        // Files may be on a slow disk.
        let loaded = tokio::task::spawn_blocking(move || rules::load(Some(&path))).await;
        match loaded {
            Ok(Ok(rules)) => self.accept(rules, asked),
            Ok(Err(error)) => self.refuse(&error, asked),
            Err(error) => tracing::error!(%error, "rules could not be looked at"),
        }
    }

    fn accept(&mut self, rules: RuleSet, asked: bool) {
        self.refused = None;
        gauge!("ratelimit_rules_valid").set(1.0);
        let changed = rules.version() != self.limiter.rules().version();
        if changed || asked {
            tracing::info!(path = %self.path.display(), version = rules.version(), changed, "rules loaded");
        }
        if changed {
            counter!("ratelimit_rules_reloads_total", "outcome" => "accepted").increment(1);
            self.limiter.replace_rules(rules);
        }
    }

    fn refuse(&mut self, error: &LoadError, asked: bool) {
        let reason = error.to_string();
        if asked || self.refused.as_ref() != Some(&reason) {
            counter!("ratelimit_rules_reloads_total", "outcome" => "refused").increment(1);
            gauge!("ratelimit_rules_valid").set(0.0);
            tracing::error!(%error, "rules refused, those before stay in force");
            self.refused = Some(reason);
        }
    }
}

/// Whether somebody asked, or it is just time to look.
async fn wait(hangup: &mut Option<Signal>) -> bool {
    let hung_up = async {
        match hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::time::timeout(INTERVAL, hung_up).await.is_ok()
}
