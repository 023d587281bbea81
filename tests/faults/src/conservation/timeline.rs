//! Lets a schedule happen, and watches what it does to the replicas.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::clock::Clock;
use super::fault::{Fault, Node, Target};
use super::losses::{Losses, Sample};
use super::scene::Scene;
use super::schedule::{Schedule, Step};
use crate::Outage;

/// From one look at a replica's metrics to the next.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// Lets all faults of a schedule begin and end. Where a server takes long to come back, the next fault of it is late.
pub async fn happen(schedule: &Schedule, scene: &Scene, losses: &Losses, clock: Clock) -> anyhow::Result<()> {
    let mut by_target = BTreeMap::<Target, Vec<Step>>::new();
    for step in &schedule.steps {
        by_target.entry(step.fault.target()).or_default().push(*step);
    }
    let lanes = by_target.into_values().map(async |steps| {
        for step in steps {
            take_place(step, scene, losses, clock).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(lanes).await.map(drop)
}

async fn take_place(step: Step, scene: &Scene, losses: &Losses, clock: Clock) -> anyhow::Result<()> {
    let Step { begin, end, fault } = step;
    clock.wait_for(begin).await;
    let begun = clock.now();
    scene.begin(fault).await.with_context(|| format!("can't begin: {fault}"))?;
    clock.say(format_args!("{fault}"));
    if let Fault::Away(node @ Node::Replica(replica), Outage::Killed) = fault {
        let safe_until = losses.killed(replica, begun, clock.now()).as_secs_f64();
        clock.say(format_args!("{node}: what it has answered up to {safe_until:.3} s can't be lost"));
    }
    clock.wait_for(end).await;
    let remark = scene.end(fault).await.with_context(|| format!("can't end: {fault}"))?;
    clock.say(format_args!("{fault}: over{remark}"));
    Ok(())
}

/// Looks again and again at what each replica says of its publisher, until dropped.
pub fn watch_replicas(scene: &Arc<Scene>, losses: &Arc<Losses>, clock: Clock) -> JoinSet<()> {
    let mut watch = JoinSet::new();
    for index in 0..scene.rig.product.snippets.len() {
        let (scene, losses) = (Arc::clone(scene), Arc::clone(losses));
        watch.spawn(async move {
            let mut looks = interval(LOOK_EVERY);
            loop {
                looks.tick().await;
                let asked_at = clock.now();
                let metrics = timeout(LOOK_WITHIN, scene.rig.product.snippets[index].metrics()).await;
                if let Ok(Ok(text)) = metrics {
                    losses.sampled(index, Sample::of(&text), asked_at);
                }
            }
        });
    }
    watch
}
