//! The span of a call: exported as part of a trace, or only the context of its log lines.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::HeaderMap;
use pin_project_lite::pin_project;
use tracing::{Span, info_span};

use crate::{propagation, telemetry};

/// The span that a call is to be in.
pub(crate) struct CallSpan {
    path: &'static str,
    /// None until the call has to wait, where spans are not exported: to write one down for log lines takes longer than many an
    /// answer, and who answers at once has nothing to log.
    span: Option<Span>,
}

pin_project! {
    /// A call in its span.
    pub(crate) struct InSpan<C> {
        #[pin]
        call: C,
        span: CallSpan,
    }
}

impl CallSpan {
    /// Of a call of that method, which continues the caller's trace.
    pub(crate) fn begin(path: &'static str, headers: &HeaderMap) -> Self {
        Self { path, span: telemetry::exports_traces().then(|| exported(path, headers)) }
    }

    pub(crate) fn around<C>(self, call: C) -> InSpan<C> {
        InSpan { call, span: self }
    }
}

impl<C: Future> Future for InSpan<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.project();
        let CallSpan { path, span } = this.span;
        let polled = {
            let _in_span = span.as_ref().map(Span::enter);
            this.call.poll(cx)
        };
        if polled.is_pending() {
            span.get_or_insert_with(|| info_span!("call", rpc.method = *path));
        }
        polled
    }
}

fn exported(path: &'static str, headers: &HeaderMap) -> Span {
    let span = info_span!("call", otel.name = path, otel.kind = "server", rpc.method = path);
    if !span.is_disabled() && headers.contains_key("traceparent") {
        propagation::set_parent(&span, |key| headers.get(key)?.to_str().ok());
    }
    span
}
