//! The law that nothing may break: every view that a client was answered is counted, once. Put to the test by a random
//! but repeatable schedule of faults under load.

mod clock;
mod duplicator;
mod fault;
mod load;
mod losses;
mod scene;
mod schedule;
mod timeline;
mod verdict;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use self::clock::Clock;
use self::duplicator::Duplicator;
use self::load::{Answered, Load};
use self::losses::Losses;
use self::scene::Scene;
use self::schedule::Schedule;
use self::timeline::{happen, watch_replicas};
use self::verdict::{Tally, Verdict};
use crate::{Counts, metric, sum, until_ready};

const DUPLICATES: &str = "counter_worker_batches_total{outcome=\"duplicate\"}";

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What everything random follows from.
    pub seed: u64,
    /// How long there is load and faults.
    pub length: Duration,
    /// Whether replicas are killed, too.
    pub kill_replicas: bool,
    /// Whether replicas keep unconfirmed windows on disk.
    pub spool: bool,
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// Everything came to rest, and was counted.
    Settled(Verdict),
    /// It did not, or what is counted in one place is not what is counted in another.
    Unsettled(anyhow::Error),
}

impl Plan {
    /// Its faults, as they display themselves.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(self.seed, self.length, self.kill_replicas)
    }

    /// The command that runs it.
    pub fn command(&self) -> String {
        let flags = [(self.kill_replicas, " --kill-replicas"), (self.spool, " --spool")];
        let flags: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| *flag).collect();
        format!("cargo run -p faults -- --seed {} --seconds {}{flags}", self.seed, self.length.as_secs())
    }

    /// Runs it, and tells what happens.
    ///
    /// # Errors
    /// When it could not be run: a server did not start, or not again.
    pub async fn run(&self) -> anyhow::Result<Outcome> {
        println!("{}", self.schedule());
        let scene = Arc::new(Scene::start(self.spool).await?);
        let outcome = self.run_on(&scene).await?;
        println!("{outcome}");
        if !outcome.is_pass() {
            println!("the logs are in {}", scene.keep_logs()?.display());
        }
        Ok(outcome)
    }

    async fn run_on(&self, scene: &Arc<Scene>) -> anyhow::Result<Outcome> {
        let losses = Arc::new(Losses::new(scene.rig.product.snippets.len(), self.spool));
        let clock = Clock::start();
        let load = Load::start(&scene.rig, self.seed, clock, Arc::clone(&losses)).await?;
        let duplicator = Duplicator::start(scene.amqp_url(), self.seed, clock.at(self.length));
        let mut watch =
            if self.kill_replicas { watch_replicas(scene, &losses, clock) } else { JoinSet::new() };
        happen(&self.schedule(), scene, &losses, clock).await?;
        clock.wait_for(self.length).await;
        watch.shutdown().await;
        let answered = load.stop().await;
        clock.say(format_args!("{} views were answered; no more load", sum(&answered.acknowledged)));
        let copies = duplicator.stop().await?;
        clock.say(format_args!("{copies} batches were published again"));
        Ok(match settle(scene, answered, &losses, clock).await {
            Ok(tally) => Outcome::Settled(Verdict::of(tally)),
            Err(error) => Outcome::Unsettled(error),
        })
    }
}

impl Outcome {
    /// Whether the law holds.
    pub fn is_pass(&self) -> bool {
        matches!(self, Self::Settled(verdict) if verdict.is_conserved())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled(verdict) => verdict.fmt(out),
            Self::Unsettled(error) => write!(out, "{error:#}"),
        }
    }
}

/// Waits until everybody can work again, and then until nothing is left anywhere that could still be counted.
async fn settle(scene: &Scene, answered: Answered, losses: &Losses, clock: Clock) -> anyhow::Result<Tally> {
    let rig = &scene.rig;
    for service in rig.product.services() {
        until_ready(service).await?;
    }
    clock.say("every service is ready");
    for worker in &rig.product.counter_workers {
        let duplicates = metric(worker, DUPLICATES).await?;
        clock.say(format_args!("{} has found {duplicates} duplicates since it was started", worker.name()));
    }
    let Answered { acknowledged, unknown, deleted } = answered;
    let read: Counts = acknowledged.iter().chain(&unknown).map(|(id, _)| (id.clone(), 0)).collect();
    let (gone, there): (Counts, Counts) = read.into_iter().partition(|(id, _)| deleted.contains(id));
    let mut counted = rig.settled(&there).await?;
    counted.extend(rig.totals(&gone).await?);
    clock.say("nothing is left to be counted");
    let mut may_lack = losses.losable();
    may_lack
        .extend(acknowledged.iter().filter(|(id, _)| deleted.contains(*id)).map(|(id, n)| (id.clone(), *n)));
    Ok(Tally { acknowledged, unknown, may_lack, counted })
}
