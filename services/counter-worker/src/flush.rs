//! What the worker gathers before it commits.

use chassis::propagation;
use tracing::Span;

use crate::{domain::Batch, ports::TraceHeaders};

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
}

impl Flush {
    pub(crate) fn push(&mut self, batch: Batch, tag: u64, trace: TraceHeaders) {
        self.counts += batch.len();
        self.batches.push(batch);
        self.tags.push(tag);
        self.traces.push(trace);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    /// How many counts the batches hold together.
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
