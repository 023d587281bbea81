//! The body of a request that is a stream: it ends when its client ends it, or when the server drains.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes};
use http_body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A body that is over, for its handler, once the token is cancelled.
pub(crate) struct RequestStream {
    body: Body,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl RequestStream {
    pub(crate) fn new(body: Body, draining: CancellationToken) -> Self {
        Self { body, draining: Box::pin(draining.cancelled_owned()) }
    }
}

impl http_body::Body for RequestStream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.draining.as_mut().poll(cx));
        Poll::Ready(None)
    }
}
