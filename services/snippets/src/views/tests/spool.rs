//! What is on disk, and what becomes of it.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use tempfile::{TempDir, tempdir};

use super::*;

const BYTES_MAX: u64 = 1024 * 1024;

fn open(dir: &TempDir, bytes_max: u64) -> Spool {
    Spool::open(&SpoolOptions { dir: dir.path().to_owned(), bytes_max }).unwrap()
}

/// The files with that extension, without it.
fn files(dir: &Path, extension: &str) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(extension)?.to_owned())).collect();
    names.sort();
    names
}

fn batches_in(dir: &Path) -> usize {
    files(dir, ".batch").len()
}

#[tokio::test(start_paused = true)]
async fn closed_windows_outlive_the_process_and_are_sent_first_under_the_same_ids() {
    let (dir, ids) = (tempdir().unwrap(), ids(6));
    let scene = Scene::new(false, 100);
    let script = async {
        for id in &ids {
            scene.view(id);
            sleep(Duration::from_millis(300)).await;
        }
        eventually(|| batches_in(dir.path()) == 6).await;
        assert_eq!(scene.aggregator.places().closed(), 0, "memory holds none of it");
        scene.view(&ids[0]);
    };
    scene.play_and_die(Some(open(&dir, BYTES_MAX)), script).await;
    let left = files(dir.path(), ".batch");

    let scene = Scene::new(true, 100);
    scene.view(&ids[5]);
    scene.play_with(Some(open(&dir, BYTES_MAX)), eventually(|| scene.recorder.safe.lock().len() == 7)).await;
    let sent: Vec<_> = scene.recorder.seen.lock().iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(sent[..6], left[..]);
    let expected =
        [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 2)].map(|(id, views)| (ids[id].to_string(), views));
    assert_eq!(scene.recorder.totals(), HashMap::from(expected), "all but the open window");
    assert_eq!(batches_in(dir.path()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_the_broker_away_leaves_the_rest_on_disk_and_waits_for_nothing() {
    let (dir, ids) = (tempdir().unwrap(), ids(4));
    let scene = Scene::new(false, 100);
    let script = async {
        for id in &ids {
            scene.view(id);
        }
        scene.recorder.tried(1).await;
        scene.view(&ids[0]);
    };
    scene.play_with(Some(open(&dir, BYTES_MAX)), script).await;
    assert_eq!(batches_in(dir.path()), 3);
    assert_eq!(scene.aggregator.snippets() + scene.aggregator.places().closed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_leaves_views_in_memory_until_there_is_room() {
    let (dir, ids) = (tempdir().unwrap(), ids(5));
    let scene = Scene::new(false, 100);
    let script = async {
        for id in &ids {
            scene.view(id);
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(batches_in(dir.path()), 2);
        // One batch waits in memory, and with it the open window.
        assert_eq!((scene.aggregator.places().closed(), scene.aggregator.snippets()), (1, 2));
        scene.recorder.up.send_replace(true);
        eventually(|| scene.aggregator.places().closed() + scene.aggregator.snippets() == 0).await;
        eventually(|| batches_in(dir.path()) == 0).await;
        scene.recorder.up.send_replace(false);
        scene.view(&ids[0]);
        eventually(|| batches_in(dir.path()) == 1).await;
    };
    scene.play_with(Some(open(&dir, 2 * 4096)), script).await;
    assert_eq!(scene.recorder.totals().values().sum::<u64>(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_done_without_until_it_works_again() {
    let (dir, ids) = (tempdir().unwrap(), ids(4));
    let away = dir.path().with_extension("away");
    let scene = Scene::new(true, 100);
    let script = async {
        fs::rename(dir.path(), &away).unwrap();
        scene.view(&ids[0]);
        eventually(|| scene.recorder.safe.lock().len() == 1).await;
        scene.recorder.up.send_replace(false);
        scene.view(&ids[1]);
        sleep(Duration::from_secs(5)).await;
        scene.view(&ids[2]);
        sleep(Duration::from_secs(5)).await;
        assert_eq!((scene.aggregator.places().closed(), scene.aggregator.snippets()), (1, 1));
        fs::rename(&away, dir.path()).unwrap();
        eventually(|| batches_in(dir.path()) == 2).await;
        assert_eq!(scene.aggregator.places().closed(), 0);
        scene.recorder.up.send_replace(true);
        scene.view(&ids[3]);
        eventually(|| scene.recorder.safe.lock().len() == 4).await;
    };
    scene.play_with(Some(open(&dir, BYTES_MAX)), script).await;
    assert_eq!(scene.recorder.totals().values().sum::<u64>(), 4);
    assert_eq!(batches_in(dir.path()), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_batch_is_set_aside_and_holds_up_nothing() {
    let (dir, ids) = (tempdir().unwrap(), ids(3));
    let scene = Scene::new(false, 100);
    let script = async {
        for id in &ids {
            scene.view(id);
            sleep(Duration::from_millis(300)).await;
        }
        eventually(|| batches_in(dir.path()) == 3).await;
    };
    scene.play_and_die(Some(open(&dir, BYTES_MAX)), script).await;
    let found = files(dir.path(), ".batch");
    fs::write(dir.path().join(format!("{}.batch", found[0])), "nothing of the kind").unwrap();
    fs::write(dir.path().join(format!("{}.tmp", Uuid::now_v7())), "half of it").unwrap();

    let scene = Scene::new(true, 100);
    let spool = open(&dir, BYTES_MAX);
    // One is gone once it is known.
    fs::remove_file(dir.path().join(format!("{}.batch", found[1]))).unwrap();
    scene.play_with(Some(spool), eventually(|| scene.recorder.safe.lock().len() == 1)).await;
    assert_eq!(scene.recorder.safe.lock().iter().map(Uuid::to_string).collect::<Vec<_>>(), found[2..]);
    assert_eq!(files(dir.path(), ".corrupt"), found[..1]);
    assert_eq!(batches_in(dir.path()), 0);
    assert!(files(dir.path(), ".tmp").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cant_be_read_is_tried_again_and_holds_up_nothing() {
    let (dir, ids) = (tempdir().unwrap(), ids(2));
    let scene = Scene::new(false, 100);
    let script = async {
        scene.view(&ids[0]);
        eventually(|| batches_in(dir.path()) == 1).await;
    };
    scene.play_and_die(Some(open(&dir, BYTES_MAX)), script).await;
    let name = format!("{}.batch", files(dir.path(), ".batch")[0]);
    let (file, away) = (dir.path().join(&name), dir.path().join("away"));
    fs::rename(&file, &away).unwrap();
    fs::create_dir(&file).unwrap();

    let scene = Scene::new(true, 100);
    let script = async {
        scene.view(&ids[1]);
        eventually(|| scene.recorder.safe.lock().len() == 1).await;
        fs::remove_dir(&file).unwrap();
        fs::rename(&away, &file).unwrap();
        eventually(|| scene.recorder.safe.lock().len() == 2).await;
    };
    scene.play_with(Some(open(&dir, BYTES_MAX)), script).await;
    assert_eq!(scene.recorder.totals().len(), 2);
    assert_eq!(batches_in(dir.path()), 0);
}

/// In real time: as long as a thread is blocked, time does not pass by itself.
#[tokio::test]
async fn a_disk_that_hangs_is_done_without() {
    let (dir, ids) = (tempdir().unwrap(), ids(1));
    let pipe = dir.path().join(format!("{}.batch", Uuid::now_v7()));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let scene = Scene::new(true, 100);
    let script = async {
        scene.view(&ids[0]);
        eventually(|| scene.recorder.safe.lock().len() == 1).await;
        // To open it for reading hangs until somebody opens it for writing.
        File::options().write(true).open(&pipe).unwrap();
        eventually(|| files(dir.path(), ".corrupt").len() == 1).await;
    };
    scene.play_with(Some(open(&dir, BYTES_MAX)), script).await;
    assert_eq!(scene.recorder.totals().values().sum::<u64>(), 1);
}

#[test]
fn a_spool_has_one_process_at_a_time() {
    let dir = tempdir().unwrap();
    let spool = open(&dir, BYTES_MAX);
    let options = SpoolOptions { dir: dir.path().to_owned(), bytes_max: BYTES_MAX };
    let error = Spool::open(&options).unwrap_err().to_string();
    assert!(error.contains(&dir.path().display().to_string()) && error.contains("in use"), "{error}");
    drop(spool);
    Spool::open(&options).unwrap();

    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Spool::open(&SpoolOptions { dir: file, bytes_max: BYTES_MAX }).unwrap_err().to_string();
    assert!(error.contains("file can't be used"), "{error}");
}
