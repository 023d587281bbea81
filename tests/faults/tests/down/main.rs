//! What still works while something is down, as a table: each server is killed, and once more frozen, and brought back.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod calls;
mod health;
mod scene;

use faults::Outage;

use scene::{Down, Scene};

/// What comes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It is answered.
    Served,
    /// UNAVAILABLE, with the time to wait, and well before a caller gives up.
    Refused,
}

/// What becomes of views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Views {
    /// They are counted, whatever is down.
    Counted,
    /// They wait for what is down.
    Held,
}

/// What holds while something is down.
struct Row {
    down: Down,
    cached_read: Told,
    uncached_read: Told,
    write: Told,
    /// The counter that tells of writes which are not limited as they should be, and whose it is.
    noted: Option<(&'static str, &'static str)>,
    views: Views,
    /// Who says that it can't reach it, and what it calls it.
    degraded: &'static [(&'static str, &'static str)],
}

#[rustfmt::skip]
const TABLE: [Row; 6] = {
    use Told::{Refused, Served};
    use Views::{Counted, Held};
    const LOCAL: (&str, &str) = ("ratelimit", "ratelimit_fallbacks_total{on_error=\"local\"}");
    const OPEN: (&str, &str) = ("snippets", "snippets_unchecked_writes_total");
    const fn row(
        down: Down,
        [cached_read, uncached_read, write]: [Told; 3],
        noted: Option<(&'static str, &'static str)>,
        views: Views,
        degraded: &'static [(&'static str, &'static str)],
    ) -> Row {
        Row { down, cached_read, uncached_read, write, noted, views, degraded }
    }
    [
        //   down            cached  uncached  write     noted        views    degraded
        row(Down::Cache,     [Served, Served,  Served ], None,        Counted, &[("snippets", "cache")]),
        row(Down::Counters,  [Served, Served,  Served ], Some(LOCAL), Counted, &[("ratelimit", "redis")]),
        row(Down::Limiter,   [Served, Served,  Served ], Some(OPEN),  Counted, &[("snippets", "ratelimit")]),
        row(Down::Worker,    [Served, Served,  Served ], None,        Held,    &[]),
        row(Down::Postgres,  [Served, Refused, Refused], None,        Held,    &[("snippets", "postgres"), ("counter-worker", "postgres")]),
        row(Down::Broker,    [Served, Served,  Served ], None,        Held,    &[("snippets", "rabbitmq"), ("counter-worker", "rabbitmq")]),
    ]
};

#[tokio::test]
async fn the_rest_works_as_the_table_says_and_everything_once_it_is_back() {
    let scene = Scene::start().await;
    for row in &TABLE {
        for outage in Outage::ALL {
            println!("{:?} is {outage:?}", row.down);
            let before = scene.prepare().await;
            scene.begin(row.down, outage).await;
            for replica in scene.replicas() {
                calls::cached_reads(&scene, &replica, &before, row).await;
                calls::uncached_reads(&replica, &before, row.uncached_read).await;
                calls::writes(&scene, &replica, &before, row).await;
            }
            health::is_told(&scene, row).await;
            // Whatever they were told in its last moments is long forgotten by now.
            for replica in scene.replicas() {
                calls::cached_reads(&scene, &replica, &before, row).await;
            }
            calls::views(&scene, &before, row.views).await;
            scene.end(row.down, outage).await;
            scene.has_recovered(&before).await;
        }
    }
    scene.rig.assert_conserved(&scene.views).await.unwrap();
}
