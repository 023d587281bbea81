//! W3C trace context in and out of whatever carries key-value pairs: gRPC metadata, AMQP headers.

use opentelemetry::{
    Context, global,
    propagation::{Extractor, Injector},
    trace::{SpanContext, TraceContextExt as _},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header names of the W3C trace context.
pub const HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// Writes the trace context of the current span, if it is part of a trace.
pub fn inject_current(set: impl FnMut(&str, String)) {
    inject(&Span::current().context(), set);
}

/// Writes the trace context of a span that is kept as a [`SpanContext`].
pub fn inject_span_context(span: &SpanContext, set: impl FnMut(&str, String)) {
    inject(&Context::new().with_remote_span_context(span.clone()), set);
}

/// Makes a span the child of the trace context that `get` reads.
pub fn set_parent<'a>(span: &Span, get: impl Fn(&str) -> Option<&'a str>) {
    let context = extract(get);
    if context.span().span_context().is_valid() {
        // Fails only where no OpenTelemetry layer is installed, and then there is no trace to continue.
        let _ = span.set_parent(context);
    }
}

/// Links a span to the trace context that `get` reads: related, but not its parent.
pub fn add_link<'a>(span: &Span, get: impl Fn(&str) -> Option<&'a str>) {
    let context = extract(get);
    if context.span().span_context().is_valid() {
        span.add_link(context.span().span_context().clone());
    }
}

/// The current span's place in its trace, if the trace is sampled.
pub fn current_sampled() -> Option<SpanContext> {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    (span.is_valid() && span.is_sampled()).then_some(span)
}

fn inject(context: &Context, set: impl FnMut(&str, String)) {
    let mut setter = Setter(set);
    global::get_text_map_propagator(|propagator| propagator.inject_context(context, &mut setter));
}

fn extract<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Context {
    let getter = Getter(HEADERS.map(|key| (key, get(key))));
    global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &getter))
}

struct Setter<F>(F);

impl<F: FnMut(&str, String)> Injector for Setter<F> {
    fn set(&mut self, key: &str, value: String) {
        (self.0)(key, value);
    }
}

struct Getter<'a>([(&'static str, Option<&'a str>); 2]);

impl Extractor for Getter<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).and_then(|(_, value)| *value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name).collect()
    }
}
