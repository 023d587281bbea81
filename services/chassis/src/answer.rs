//! The body of an answer, which takes up its call's place until the client has taken it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::Status;

use crate::{overdue, room::Place};

/// Up to this size a message is handed on whole: it is done with before it is taken, and bounded by what a connection may have
/// in flight.
const WHOLE_BYTES_MAX: usize = 4 * 1024;

/// A body whose last byte is asked for only when the client has room for all that comes before.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    /// Of what the body gave, what has not been handed on yet.
    rest: Bytes,
    /// `None` for the refusal of a call that has none.
    place: Option<Place>,
}

impl Answer {
    pub(crate) fn new(body: Body, place: Option<Place>) -> Self {
        Self { body, rest: Bytes::new(), place }
    }

    /// Gives the status instead of what the body would have given.
    fn refuse(&mut self, status: &Status) -> Frame<Bytes> {
        self.body = Body::empty();
        Frame::trailers(trailers(status))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else {
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
            let bytes = self.rest.len();
            if let Some(Err(status)) = self.place.as_mut().map(|place| place.hold(bytes)) {
                self.rest.clear();
                return Poll::Ready(Some(Ok(self.refuse(&status))));
            }
        }
        let bytes = self.rest.len();
        let piece = if bytes > WHOLE_BYTES_MAX { bytes - 1 } else { bytes };
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        overdue::in_time();
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // The code is there even where the rest can't be written as headers.
    let _ = status.add_header(&mut trailers);
    trailers
}
