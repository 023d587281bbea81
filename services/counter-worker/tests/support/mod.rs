//! What several tests need: batches, and what they add up to.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod broker;
pub mod worker;

use std::collections::BTreeMap;

use bytes::Bytes;
use counter_worker::domain::Batch;
use prost::Message as _;
use rand::RngExt as _;
use rpc::views::v1::{ViewBatch, ViewCount};
use uuid::Uuid;

/// Views by snippet id.
pub type Totals = BTreeMap<String, i64>;

/// A batch that was counted now.
pub fn view_batch(id: Uuid, counts: &[(&str, u64)]) -> ViewBatch {
    let now = Some(std::time::SystemTime::now().into());
    let counts = counts.iter().map(|(id, views)| ViewCount { snippet_id: (*id).to_owned(), views: *views });
    ViewBatch {
        batch_id: id.to_string(),
        publisher: "test".to_owned(),
        window_start: now,
        window_end: now,
        counts: counts.collect(),
        deleted_snippet_ids: Vec::new(),
    }
}

/// An encoded batch.
pub fn payload(id: Uuid, counts: &[(&str, u64)]) -> Bytes {
    view_batch(id, counts).encode_to_vec().into()
}

/// A batch as it comes out of the queue.
pub fn parsed(batch: &ViewBatch) -> Batch {
    Batch::parse(&batch.encode_to_vec()).expect("well-formed")
}

/// A well-formed batch.
pub fn batch(id: Uuid, counts: &[(&str, u64)]) -> Batch {
    parsed(&view_batch(id, counts))
}

/// Encoded batches over few snippets, in no order, and what they add up to.
pub fn flood(batches: usize) -> (Vec<Bytes>, Totals) {
    let mut rng = rand::rng();
    let mut totals = Totals::new();
    let payloads = (0..batches).map(|_| {
        let counts: Totals = (0..rng.random_range(1..20))
            .map(|_| (format!("snippet{}", rng.random_range(0..40)), rng.random_range(1..10)))
            .collect();
        let mut wire: Vec<(&str, u64)> =
            counts.iter().map(|(id, views)| (id.as_str(), views.unsigned_abs())).collect();
        rand::seq::SliceRandom::shuffle(wire.as_mut_slice(), &mut rng);
        let payload = payload(Uuid::now_v7(), &wire);
        add(&mut totals, counts);
        payload
    });
    let payloads = payloads.collect();
    (payloads, totals)
}

/// Adds totals to totals.
pub fn add(totals: &mut Totals, more: Totals) {
    for (id, views) in more {
        *totals.entry(id).or_default() += views;
    }
}

/// Totals, written down.
pub fn totals(expected: &[(&str, i64)]) -> Totals {
    expected.iter().map(|(id, views)| ((*id).to_owned(), *views)).collect()
}
