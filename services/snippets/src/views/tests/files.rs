//! What becomes of single files in the spool, where the disk does not do what it is told.

use std::{fs, path::PathBuf, sync::mpsc};

use tempfile::{TempDir, tempdir};
use tokio::{runtime::Builder, task::spawn_blocking, time::advance};

use super::{
    super::{
        backlog::Backlog,
        batches::{Batch, batches},
        keeper::SpoolKeeper,
    },
    *,
};

/// What the file of a small batch takes.
const FILE_BYTES: u64 = 4096;

/// A spool that is kept, and from which nobody sends anything.
struct Kept {
    dir: TempDir,
    aggregator: ViewAggregator,
    spool: Arc<Spool>,
    backlog: Arc<Backlog>,
}

impl Kept {
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let options = SpoolOptions { dir: dir.path().to_owned(), bytes_max: 1024 * 1024 };
        let mut spool = Spool::open(&options).unwrap();
        let aggregator = ViewAggregator::new(100, usize::MAX);
        let backlog = Arc::new(Backlog::new(aggregator.places(), Some(&mut spool)));
        Self { dir, aggregator, spool: Arc::new(spool), backlog }
    }

    /// Keeps it beside the script.
    async fn play(&self, script: impl Future<Output = ()>) {
        let mut keeper = SpoolKeeper::new(Some(self.spool.clone()), self.backlog.clone());
        tokio::select! {
            biased;
            () = keeper.run() => {}
            played = timeout(Duration::from_secs(60 * 60), script) => played.expect("a script that ends"),
        }
    }

    /// Closes a window with one view.
    fn batch(&self) -> Batch {
        self.aggregator.record(&SnippetId::generate());
        batches(self.aggregator.close(clock()), "test", BatchLimits::default()).remove(0)
    }

    fn file(&self, id: Uuid) -> PathBuf {
        self.dir.path().join(format!("{id}.batch"))
    }

    /// Waits until so many batches are in the spool, and so many files take room there.
    async fn until(&self, spooled: usize, files: u64) {
        let has = || {
            let waits = self.backlog.waits();
            (waits.spooled, waits.spool_bytes) == (spooled, files * FILE_BYTES)
        };
        eventually(has).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_cant_be_removed_is_tried_again_and_holds_up_nothing() {
    let kept = Kept::new();
    let (stuck, sent) = (kept.batch(), kept.batch());
    let (stuck_id, sent_id) = (stuck.pending.id, sent.pending.id);
    let file = kept.file(stuck_id);
    let script = async {
        kept.backlog.add(vec![stuck, sent]);
        kept.until(2, 2).await;
        fs::remove_file(&file).unwrap();
        fs::create_dir_all(file.join("not empty")).unwrap();
        kept.backlog.settle(stuck_id);
        kept.backlog.settle(sent_id);
        kept.backlog.add(vec![kept.batch()]);
        // The stuck one takes room for as long as it is there.
        kept.until(1, 2).await;
        assert!(!kept.file(sent_id).exists());

        fs::remove_dir_all(&file).unwrap();
        fs::write(&file, "").unwrap();
        kept.backlog.try_again();
        kept.until(1, 1).await;
        assert!(!file.exists());
    };
    kept.play(script).await;
}

/// Keeps a batch whose write is given up and then done nevertheless, and goes on with the script.
fn play_with_a_late_write(script: impl AsyncFnOnce(&Kept, Uuid)) {
    // What blocks is done by one thread, which something else holds. While it does, time passes only where it is told to.
    let runtime =
        Builder::new_current_thread().enable_all().start_paused(true).max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let kept = Kept::new();
        let (release, released) = mpsc::channel::<()>();
        let held = spawn_blocking(move || released.recv());
        let batch = kept.batch();
        let id = batch.pending.id;
        kept.backlog.add(vec![batch]);
        let late = async {
            advance(Duration::from_secs(6)).await;
            let waits = kept.backlog.waits();
            assert_eq!((waits.batches, waits.spooled, waits.spool_bytes), (1, 0, FILE_BYTES));
            drop(release);
            held.await.unwrap().unwrap_err();
            script(&kept, id).await;
        };
        kept.play(late).await;
    });
}

#[test]
fn what_is_written_too_late_is_removed_when_it_was_sent_from_memory() {
    play_with_a_late_write(async |kept, id| {
        kept.backlog.settle(id);
        assert_eq!(kept.aggregator.places().closed(), 0);
        eventually(|| kept.file(id).exists()).await;
        kept.until(0, 0).await;
        assert!(!kept.file(id).exists());
    });
}

#[test]
fn what_is_written_twice_takes_room_once() {
    play_with_a_late_write(async |kept, id| {
        kept.until(1, 1).await;
        kept.backlog.settle(id);
        kept.until(0, 0).await;
        assert!(!kept.file(id).exists());
    });
}
