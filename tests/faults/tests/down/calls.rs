//! The columns of the table: what callers are told.

use faults::{PATIENCE, metric};
use rpc::snippets::v1::SnippetView;
use stack::until;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::scene::{Before, Down, READS, Replica, Scene};
use crate::{Row, Told, Views};

/// Each is a view, and tells the last number of views that is known.
pub async fn cached_reads(scene: &Scene, replica: &Replica<'_>, before: &Before, row: &Row) {
    for _ in 0..READS {
        let read = scene.views.read(&replica.reader, &before.cached).await;
        let Some(read) = is(row.cached_read, read) else { continue };
        assert_eq!(read.body, "snippet 0");
        assert!(read.view_count >= before.views_of_cached, "{} views", read.view_count);
    }
    // As no view is added up now, that number can't have grown.
    if row.down == Down::Postgres {
        let shown = replica.reader.look(&before.cached).await.unwrap().view_count;
        assert_eq!(shown, before.views_of_cached);
    }
}

/// By whoever may: a replica reads what the other has not read.
pub async fn uncached_reads(replica: &Replica<'_>, before: &Before, told: Told) {
    let of_replica =
        if replica.service.name().ends_with('1') { &before.uncached[1] } else { &before.uncached[2] };
    is(told, replica.reader.look(of_replica).await);
    is(told, replica.admin.look(&before.uncached[3]).await);
    is(told, replica.admin.view_stats(&before.cached).await);
}

pub async fn writes(scene: &Scene, replica: &Replica<'_>, before: &Before, row: &Row) {
    let noted = noted(scene, replica, row).await;
    if row.write == Told::Served {
        write_all(replica).await;
    } else {
        refuse_all(replica, before).await;
    }
    if let Some((before, after)) = noted.zip(self::noted(scene, replica, row).await) {
        assert!(after > before, "{:?} tells of no write", row.noted);
    }
}

async fn write_all(replica: &Replica<'_>) {
    let id = replica.owner.create("before").await.unwrap().id;
    assert_eq!(replica.owner.edit(&id, "after").await.unwrap().body, "after");
    assert_eq!(replica.owner.get(&id, SnippetView::Full).await.unwrap().body, "after");
    replica.owner.delete(&id).await.unwrap();
    assert_eq!(replica.owner.look(&id).await.unwrap_err().code(), Code::NotFound);
}

async fn refuse_all(replica: &Replica<'_>, before: &Before) {
    // Whose key it is, is remembered for a second. Afterwards its bearer is nobody else, least of all anonymous.
    let forgotten = async || replica.owner.look(&before.cached).await.is_err();
    until("the owner's key is forgotten", PATIENCE, forgotten).await.unwrap();
    let told = tokio::join!(
        replica.owner.look(&before.cached),
        replica.owner.edit(&before.cached, "x"),
        replica.reader.create("x"),
        replica.admin.create("x"),
        replica.admin.delete(&before.cached),
    );
    is(Told::Refused, told.0);
    is(Told::Refused, told.1);
    is(Told::Refused, told.2);
    is(Told::Refused, told.3);
    is(Told::Refused, told.4);
}

async fn noted(scene: &Scene, replica: &Replica<'_>, row: &Row) -> Option<u64> {
    let (whose, counter) = row.noted?;
    let service = if whose == "ratelimit" { &scene.rig.product.ratelimit } else { replica.service };
    Some(metric(service, counter).await.unwrap())
}

/// All of them in the end, or none of those since the outage began.
pub async fn views(scene: &Scene, before: &Before, views: Views) {
    let readers = scene.rig.readers().unwrap();
    match views {
        Views::Counted => scene.views.until_counted(&readers[0]).await.unwrap(),
        Views::Held => {
            let shown = readers[0].look(&before.cached).await.unwrap().view_count;
            assert_eq!(shown, before.views_of_cached, "some got through");
        }
    }
}

/// The answer, where there is to be one.
fn is<T: std::fmt::Debug>(told: Told, answer: Result<T, Status>) -> Option<T> {
    match told {
        Told::Served => Some(answer.unwrap()),
        Told::Refused => {
            let status = answer.unwrap_err();
            // And not DEADLINE_EXCEEDED: the service gives up before its callers do.
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            let retry = status.get_details_retry_info().unwrap();
            assert!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()), "{retry:?}");
            assert!(status.get_details_error_info().is_some(), "{status:?}");
            None
        }
    }
}
