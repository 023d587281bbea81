//! A replica that is told to stop sends every view it has answered, or tells how many are lost; one that is killed loses its open window
//! at most.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use faults::{Counts, Flood, PATIENCE, Rig, Views, metric, until_degraded};
use rpc::snippets::v1::SnippetView;
use stack::{Backends, Proxy, Service, shared, until};

const CONFIRMED: &str = "snippets_view_batches_total{outcome=\"confirmed\"}";
const READS: u64 = 1000;
const DRAINED_WITHIN: Duration = Duration::from_secs(20);

/// A flood over each replica, of snippets of its own.
struct Floods {
    survivor: (Flood, Arc<Views>),
    victim: (Flood, Arc<Views>),
}

/// What became of the victim's flood.
struct Outcome {
    acknowledged: Counts,
    /// Reads that ended without an answer: each is counted or not.
    unknown: Counts,
    counted: Counts,
}

#[tokio::test]
async fn a_stopped_replica_loses_no_view_and_a_killed_one_its_open_window_at_most() {
    let rig = Rig::start(Rig::builder(Backends::fresh(shared()).await).workers(1)).await.unwrap();

    println!("a replica is stopped");
    let floods = Floods::start(&rig, 6).await;
    let status = victim(&rig).terminate(DRAINED_WITHIN).await.unwrap();
    assert!(status.success(), "{status}");
    let outcome = floods.stop(&rig).await;
    outcome.assert_counted_at_least(&outcome.acknowledged);
    outcome.assert_nothing_made_up();

    println!("a replica is killed");
    let floods = Floods::start(&rig, 7).await;
    let safe = floods.what_is_safe(&rig).await;
    assert!(safe.values().sum::<u64>() >= READS);
    victim(&rig).kill();
    let outcome = floods.stop(&rig).await;
    outcome.assert_counted_at_least(&safe);
    outcome.assert_nothing_made_up();
}

#[tokio::test]
async fn a_replica_that_is_stopped_without_the_broker_tells_what_is_lost() {
    let backends = Backends::fresh(shared()).await;
    let (way, amqp_url) = Proxy::before_url(&backends.amqp_url).await.unwrap();
    let builder = Rig::builder(Backends { amqp_url, ..backends }).replicas(1).workers(1);
    let rig = Rig::start(builder.env("DRAIN_TIMEOUT", "2s")).await.unwrap();
    let (replica, reader) = (&rig.product.snippets[0], &rig.readers().unwrap()[0]);
    let ids = rig.snippets(1).await.unwrap();
    way.cut().await;
    until_degraded(replica, "rabbitmq").await.unwrap();
    reader.get(&ids[0], SnippetView::Full).await.unwrap();

    let status = replica.terminate(DRAINED_WITHIN).await.unwrap();
    let log = replica.log();
    assert!(status.success() && log.contains("views are lost"), "{status}\n{log}");
    assert!(!log.contains("background task did not finish in time"), "{log}");
}

fn victim(rig: &Rig) -> &Service {
    &rig.product.snippets[1]
}

impl Floods {
    /// Returns once each is well under way.
    async fn start(rig: &Rig, seed: u64) -> Self {
        let [survivor, victim] = rig.readers().unwrap().try_into().unwrap();
        let mut floods = Vec::new();
        for reader in [survivor, victim] {
            let (views, ids) = (Arc::<Views>::default(), rig.snippets(10).await.unwrap());
            floods.push((Flood::start(&views, &[reader], &ids, seed), views));
        }
        for (flood, _) in &floods {
            flood.answered(READS).await.unwrap();
        }
        let [survivor, victim] = floods.try_into().ok().unwrap();
        Self { survivor, victim }
    }

    /// What the victim has answered and the broker has confirmed. A window that is drained after an answer holds its
    /// view. The first batch to be confirmed from now on may have been drained before, the second not.
    async fn what_is_safe(&self, rig: &Rig) -> Counts {
        let answered = self.victim.1.acknowledged();
        let before = metric(victim(rig), CONFIRMED).await.unwrap();
        let confirmed = async || metric(victim(rig), CONFIRMED).await.unwrap() >= before + 2;
        until("two more batches are confirmed", PATIENCE, confirmed).await.unwrap();
        answered
    }

    /// Stops both floods some time after the victim has gone. The other replica's readers notice nothing of it.
    async fn stop(self, rig: &Rig) -> Outcome {
        let ((survivor, survivors_views), (victim, views)) = (self.survivor, self.victim);
        survivor.answered(READS).await.unwrap();
        let failed_elsewhere = survivor.stop().await;
        assert!(failed_elsewhere.is_empty(), "{failed_elsewhere:?}");
        let failed = victim.stop().await;
        assert!(!failed.is_empty(), "the victim was not there any more");
        let (acknowledged, unknown) = (views.acknowledged(), views.unknown());
        let elsewhere = survivors_views.acknowledged();
        let everything = acknowledged.clone().into_iter().chain(elsewhere.clone()).collect();
        let mut counted = rig.settled(&everything).await.unwrap();
        let counted_elsewhere =
            counted.extract_if(.., |id, _| elsewhere.contains_key(id)).collect::<Counts>();
        assert_eq!(counted_elsewhere, elsewhere);
        Outcome { acknowledged, unknown, counted }
    }
}

impl Outcome {
    fn assert_counted_at_least(&self, floor: &Counts) {
        for (id, views) in floor {
            assert!(self.counted[id] >= *views, "{id}: {} of {views} are counted", self.counted[id]);
        }
    }

    fn assert_nothing_made_up(&self) {
        for (id, views) in &self.counted {
            let most = self.acknowledged[id] + self.unknown.get(id).unwrap_or(&0);
            assert!(*views <= most, "{id}: {views} are counted, {most} were read");
        }
    }
}
