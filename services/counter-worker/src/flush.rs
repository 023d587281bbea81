//! What the worker gathers before it commits.

use std::{collections::HashSet, hash::BuildHasher as _};

use chassis::propagation;
use tracing::Span;

use crate::{
    domain::Batch,
    ports::{Delivery, TraceHeaders},
};

/// So that no transaction grows without bound: so many rows of each table are written, however often they are counted.
const ROWS_MAX: usize = 50_000;
/// So that what is gathered doesn't, either. The snippets service's greatest batch has 128 KiB.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// More links than this an OpenTelemetry SDK drops anyway.
const LINKS_MAX: usize = 127;

/// Well-formed batches, in the order of their delivery.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    /// What [`Flush::tags`] and `traces` belong to, index by index.
    pub(crate) batches: Vec<Batch>,
    pub(crate) tags: Vec<u64>,
    traces: Vec<TraceHeaders>,
    counts: usize,
    /// Hashes of the rows to be written; of two that are alike one row too few is known, which does no harm.
    rows: HashSet<u64>,
    bytes: usize,
}

impl Flush {
    /// Adds what came as `delivery`.
    pub(crate) fn push(&mut self, batch: Batch, delivery: Delivery) {
        self.counts += batch.len();
        let hasher = self.rows.hasher().clone();
        self.rows.extend(batch.rows().map(|row| hasher.hash_one(row)));
        self.bytes += delivery.payload.len();
        self.batches.push(batch);
        self.tags.push(delivery.tag);
        self.traces.push(delivery.trace);
    }

    /// Whether it is to grow no more. By rows and bytes, it may be beyond its bounds by one batch.
    pub(crate) fn is_full(&self, batches_max: usize) -> bool {
        self.len() >= batches_max || self.rows.len() >= ROWS_MAX || self.bytes >= BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    /// How many counts and deletions the batches hold together.
    pub(crate) fn counts(&self) -> usize {
        self.counts
    }

    /// The span of the commit. It continues the first batch's trace, and is linked to those of the others.
    pub(crate) fn span(&self) -> Span {
        let span = tracing::info_span!(
            parent: None,
            "commit view batches",
            otel.kind = "consumer",
            batches = self.len(),
            counts = self.counts,
        );
        let mut traces = self.traces.iter();
        if let Some(first) = traces.next() {
            propagation::set_parent(&span, |name| header(first, name));
        }
        for other in traces.take(LINKS_MAX) {
            propagation::add_link(&span, |name| header(other, name));
        }
        span
    }
}

fn header<'a>(trace: &'a TraceHeaders, name: &str) -> Option<&'a str> {
    trace.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use bytes::Bytes;
    use opentelemetry::{global, trace::TracerProvider as _};
    use opentelemetry_sdk::{
        propagation::TraceContextPropagator,
        trace::{InMemorySpanExporter, SdkTracerProvider},
    };
    use prost::Message as _;
    use rpc::views::v1::{ViewBatch, ViewCount};
    use tracing_subscriber::layer::SubscriberExt as _;
    use uuid::Uuid;

    use super::*;

    fn delivery(tag: u64, trace: TraceHeaders) -> Delivery {
        Delivery { tag, payload: Bytes::new(), redelivered: false, trace }
    }

    fn batch() -> Batch {
        batch_of(0..1)
    }

    fn batch_of(snippets: Range<usize>) -> Batch {
        let counts = snippets.map(|number| ViewCount { snippet_id: number.to_string(), views: 1 }).collect();
        let batch = ViewBatch { batch_id: Uuid::now_v7().to_string(), counts, ..ViewBatch::default() };
        Batch::parse(&batch.encode_to_vec()).expect("well-formed")
    }

    #[test]
    fn it_is_full_by_the_rows_that_it_writes_and_not_by_how_often() {
        let mut flush = Flush::default();
        for tag in 1..=20 {
            flush.push(batch_of(0..5_000), delivery(tag, TraceHeaders::new()));
        }
        assert_eq!((flush.counts(), flush.is_full(21)), (100_000, false));
        for first in (5_000..ROWS_MAX).step_by(5_000) {
            assert!(!flush.is_full(usize::MAX));
            flush.push(batch_of(first..first + 5_000), delivery(21, TraceHeaders::new()));
        }
        assert!(flush.is_full(usize::MAX));
    }

    fn trace(trace_id: &str, span_id: &str) -> TraceHeaders {
        vec![("traceparent".to_owned(), format!("00-{trace_id}-{span_id}-01"))]
    }

    #[test]
    fn the_commit_continues_the_first_trace_and_links_to_the_others() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let [first, second] = ["0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"];

        let mut flush = Flush::default();
        flush.push(batch(), delivery(1, trace(first, "b7ad6b7169203331")));
        flush.push(batch(), delivery(2, trace(second, "00f067aa0ba902b7")));
        flush.push(batch(), delivery(3, TraceHeaders::new()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            // As in the worker, whose task has a span of its own.
            tracing::info_span!("background").in_scope(|| flush.span().in_scope(|| {}));
        });

        let spans = exporter.get_finished_spans().expect("exported");
        let commit = spans.iter().find(|span| span.name == "commit view batches").expect("the commit's span");
        assert_eq!(commit.span_context.trace_id().to_string(), first);
        assert_eq!(commit.parent_span_id.to_string(), "b7ad6b7169203331");
        let links: Vec<String> =
            commit.links.iter().map(|link| link.span_context.trace_id().to_string()).collect();
        assert_eq!(links, [second]);
    }
}
