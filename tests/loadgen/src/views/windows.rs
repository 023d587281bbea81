//! Batches as publishers send them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use prost::Message as _;
use rpc::views::v1::{ViewBatch, ViewCount};
use uuid::Uuid;

/// The id of a snippet in benchmarks of the worker alone; as long as a real one.
pub(crate) fn snippet_id(index: usize) -> String {
    format!("s{index:010}")
}

/// The batch of a window in which these snippets were viewed.
pub(crate) fn window(views: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut counts = BTreeMap::<usize, u64>::new();
    for snippet in views {
        *counts.entry(snippet).or_default() += 1;
    }
    let now = SystemTime::now();
    let counts = counts.into_iter().map(|(index, views)| ViewCount { snippet_id: snippet_id(index), views });
    let batch = ViewBatch {
        batch_id: Uuid::now_v7().to_string(),
        publisher: "loadgen".to_owned(),
        window_start: Some(now.into()),
        window_end: Some(now.into()),
        counts: counts.collect(),
        ..ViewBatch::default()
    };
    batch.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_each_snippet_once() {
        let batch = ViewBatch::decode(window([7, 3, 7]).as_slice()).unwrap();
        let counts: Vec<_> =
            batch.counts.iter().map(|count| (count.snippet_id.as_str(), count.views)).collect();
        assert_eq!(counts, [("s0000000003", 1), ("s0000000007", 2)]);
    }
}
