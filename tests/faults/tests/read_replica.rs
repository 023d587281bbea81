//! With a standby of Postgres: it answers what may be a second old, and nothing that is older, or lacks what was edited here.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use faults::{Client, Outage, PATIENCE, Rig, Views, metric, until_degraded, until_ready};
use stack::{Backends, Database, Postgres, Service, eventually, shared, until};
use tokio::time::sleep;
use tonic::Code;

const READS: &str = "snippets_read_replica_reads_total";
const LAGGING: &str = "snippets_read_replica_fallbacks_total{reason=\"lagging\"}";
/// What an edit may take to be seen through another replica.
const ELSEWHERE: Duration = Duration::from_secs(1);
const LISTS: usize = 20;

/// Two replicas of the product over a primary and its standby.
struct Scene {
    primary: Postgres,
    standby: Postgres,
    rig: Rig,
}

impl Scene {
    async fn set() -> Self {
        let primary = Postgres::start().await.unwrap();
        let database = primary.database().await.unwrap();
        let standby = primary.standby().await.unwrap();
        let backends =
            Backends { database_url: database.url().to_owned(), ..Backends::fresh(shared()).await };
        let builder = Rig::builder(backends).workers(1);
        let read_url = standby.copy_of(&database).unwrap().url().to_owned();
        let rig = Rig::start(builder.env("DATABASE_READ_URL", read_url)).await.unwrap();
        Self { primary, standby, rig }
    }

    fn replicas(&self) -> &[Service] {
        &self.rig.product.snippets
    }

    async fn on_standby(&self, sql: &str) {
        Database::at(self.standby.url()).execute(sql).await.unwrap();
    }

    /// Waits until each replica lists from the standby.
    async fn until_read(&self) {
        for (replica, reader) in self.replicas().iter().zip(self.rig.readers().unwrap()) {
            let read = async || {
                let before = metric(replica, READS).await.unwrap();
                reader.list("").await.unwrap();
                metric(replica, READS).await.unwrap() > before
            };
            until("lists come from the standby", PATIENCE, read).await.unwrap();
        }
    }
}

#[tokio::test]
async fn nothing_older_than_a_second_is_listed_and_no_edit_of_ones_own_is_missing() {
    let scene = Scene::set().await;
    let [here, elsewhere] = scene.rig.readers().unwrap().try_into().unwrap();
    let owner = scene.rig.owner(&here);
    for is_paused in [false, true] {
        if is_paused {
            scene.on_standby("select pg_wal_replay_pause()").await;
        } else {
            scene.until_read().await;
        }
        for id in scene.rig.snippets(5).await.unwrap() {
            assert!(owner.list("me").await.unwrap().contains(&id), "what one has just made is there");
            sleep(ELSEWHERE).await;
            assert!(elsewhere.list("").await.unwrap().contains(&id), "{is_paused}");
            owner.delete(&id).await.unwrap();
            assert!(!here.list("").await.unwrap().contains(&id), "{is_paused}");
            sleep(ELSEWHERE).await;
            assert!(!elsewhere.list("").await.unwrap().contains(&id), "{is_paused}");
        }
    }
    for replica in scene.replicas() {
        assert!(metric(replica, LAGGING).await.unwrap() > 0);
        until_degraded(replica, "postgres-replica").await.unwrap();
    }
    scene.on_standby("select pg_wal_replay_resume()").await;
    scene.until_read().await;
}

#[tokio::test]
async fn either_may_be_away() {
    let scene = Scene::set().await;
    let readers = scene.rig.readers().unwrap();
    let id = scene.rig.snippets(1).await.unwrap().remove(0);
    scene.until_read().await;
    for outage in Outage::ALL {
        println!("the standby is {outage:?}");
        outage.begin(&scene.standby);
        for (replica, reader) in scene.replicas().iter().zip(&readers) {
            for _ in 0..LISTS {
                assert!(reader.list("").await.unwrap().contains(&id));
            }
            until_degraded(replica, "postgres-replica").await.unwrap();
        }
        outage.end(&scene.standby).await.unwrap();
        scene.until_read().await;
    }
    for replica in scene.replicas() {
        until_ready(replica).await.unwrap();
    }

    for outage in Outage::ALL {
        println!("the primary is {outage:?}");
        keep_in_cache(&scene, &id).await;
        scene.standby.until_replayed(&scene.primary).await.unwrap();
        scene.until_read().await;
        outage.begin(&scene.primary);
        for reader in &readers {
            the_standby_answers(&scene, reader, &id).await;
        }
        outage.end(&scene.primary).await.unwrap();
        for replica in scene.replicas() {
            until_ready(replica).await.unwrap();
        }
    }
}

/// Whose snippet it is, the cache knows; when it was viewed, it does not.
async fn keep_in_cache(scene: &Scene, id: &str) {
    for reader in scene.rig.readers().unwrap() {
        Views::default().read(&reader, id).await.unwrap();
    }
}

async fn the_standby_answers(scene: &Scene, reader: &Client, id: &str) {
    let lists = eventually(PATIENCE, async || Ok(reader.list("").await?)).await.unwrap();
    assert!(lists.contains(&id.to_owned()));
    scene.rig.admin(reader).view_stats(id).await.unwrap();
    let refused = scene.rig.admin(reader).create("x").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
}
