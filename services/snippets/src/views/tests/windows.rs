//! Windows, batches, and a broker that comes and goes.

use super::*;

fn seconds(timestamp: Option<prost_types::Timestamp>) -> i64 {
    timestamp.unwrap().seconds
}

#[tokio::test(start_paused = true)]
async fn windows_are_sent_in_bounded_batches() {
    let (scene, ids) = (Scene::new(true, 100), ids(5));
    for id in &ids {
        scene.view(id);
    }
    scene.play(scene.recorder.tried(3)).await;
    let batches = scene.recorder.batches();
    assert_eq!(batches.iter().map(|batch| batch.counts.len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(scene.recorder.totals().len(), 5);
    assert_eq!(batches[0].publisher, "test");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_sent_under_the_same_id_until_it_is_safe_and_the_open_window_holds_the_rest() {
    let (scene, ids) = (Scene::new(false, 100), ids(2));
    scene.view(&ids[0]);
    let script = async {
        scene.recorder.tried(3).await;
        scene.view(&ids[0]);
        scene.view(&ids[1]);
        scene.recorder.tried(6).await;
        assert_eq!(scene.aggregator.snippets(), 2);
        let sent: Vec<_> = scene.recorder.seen.lock().iter().map(|(id, _)| *id).collect();
        assert!(sent.iter().all(|id| *id == sent[0]), "{sent:?}");
        scene.recorder.up.send_replace(true);
        scene.recorder.tried(8).await;
    };
    scene.play(script).await;
    assert_eq!(scene.recorder.totals(), HashMap::from([(ids[0].to_string(), 2), (ids[1].to_string(), 1)]));
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_confirmed_a_window_ends_with_its_hour_all_the_same() {
    let (scene, ids) = (Scene::new(false, 100), ids(1));
    let script = async {
        // A view a minute, the first at 12:59:30.
        sleep(Duration::from_secs(30)).await;
        for _ in 0..130 {
            scene.view(&ids[0]);
            sleep(Duration::from_secs(60)).await;
        }
        scene.recorder.up.send_replace(true);
    };
    scene.play(script).await;
    let batches = scene.recorder.batches();
    let hour = |batch: &ViewBatch| seconds(batch.window_start).div_euclid(3600);
    let first = hour(&batches[0]);
    let mut by_hour = HashMap::<i64, u64>::new();
    for batch in &batches {
        assert!(seconds(batch.window_end) <= (hour(batch) + 1) * 3600, "{batch:?}");
        *by_hour.entry(hour(batch) - first).or_default() += batch.counts[0].views;
    }
    assert_eq!(by_hour, HashMap::from([(0, 1), (1, 60), (2, 60), (3, 9)]));
}

#[tokio::test(start_paused = true)]
async fn closed_windows_and_the_open_one_share_the_bound() {
    let (scene, ids) = (Scene::new(false, 3), ids(4));
    let script = async {
        scene.view(&ids[0]);
        scene.view(&ids[1]);
        scene.recorder.tried(1).await;
        // Two wait in a closed window, so there is one place.
        for _ in 0..2 {
            scene.view(&ids[2]);
            scene.view(&ids[3]);
        }
        assert_eq!(scene.aggregator.snippets(), 1);
        scene.recorder.up.send_replace(true);
        scene.recorder.tried(3).await;
        sleep(Duration::from_secs(1)).await;
        scene.view(&ids[3]);
    };
    scene.play(script).await;
    let expected = [(0, 1), (1, 1), (2, 2), (3, 1)].map(|(id, views)| (ids[id].to_string(), views));
    assert_eq!(scene.recorder.totals(), HashMap::from(expected));
    assert_eq!(scene.aggregator.places().closed(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_dropped_and_holds_up_nothing_else() {
    let (scene, ids) = (Scene::new(true, 100), ids(64));
    for id in &ids {
        scene.view(id);
    }
    scene.recorder.poison.lock().extend([ids[7].to_string(), ids[40].to_string()]);
    let script = async {
        let places = scene.aggregator.places();
        while places.open() + places.closed() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    scene.play(script).await;
    let safe = scene.recorder.safe.lock().clone();
    let refused: Vec<_> =
        scene.recorder.seen.lock().iter().filter(|(id, _)| !safe.contains(id)).cloned().collect();
    let refused_ids: HashSet<_> = refused.iter().map(|(id, _)| *id).collect();
    assert_eq!((safe.len(), refused_ids.len()), (30, 2));
    assert!(refused.len() < 20, "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn stopping_flushes_the_open_window() {
    let (scene, ids) = (Scene::new(true, 100), ids(1));
    scene.view(&ids[0]);
    scene.stop.cancel();
    scene.play(async {}).await;
    assert_eq!(scene.recorder.totals(), HashMap::from([(ids[0].to_string(), 1)]));
    assert_eq!(scene.aggregator.snippets(), 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_with_the_broker_away() {
    let (scene, ids) = (Scene::new(false, 100), ids(1));
    scene.view(&ids[0]);
    scene.stop.cancel();
    timeout(Duration::from_secs(4), scene.play(async {})).await.unwrap();
    assert!(*scene.recorder.tries.borrow() > 1);
}
