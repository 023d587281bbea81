//! What the calls of a server may take up together.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::Status;

use crate::{config::ServerConfig, status};

/// Of so many calls in flight one may be a stream, which has no deadline.
const CALLS_PER_STREAM: usize = 16;

/// Answers up to this size are bounded by the number of calls well enough.
const SMALL_BYTES: usize = 16 * 1024;

/// Room for calls, for streams, and for answers that clients have not taken yet.
#[derive(Debug)]
pub(crate) struct Room {
    calls: Semaphore,
    streams: Semaphore,
    answer_bytes: Semaphore,
}

/// What one call takes up, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
    is_stream: bool,
    answer_bytes: u32,
}

impl Room {
    pub(crate) fn new(config: &ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            calls: Semaphore::new(config.max_in_flight),
            streams: Semaphore::new((config.max_in_flight / CALLS_PER_STREAM).max(1)),
            answer_bytes: Semaphore::new(config.max_answer_bytes),
        })
    }

    /// Room for one more call, or UNAVAILABLE.
    pub(crate) fn take(self: &Arc<Self>, is_stream: bool) -> Result<Place, Status> {
        let permit = self.places(is_stream).try_acquire();
        permit.map_err(|_| overloaded("too many calls at once"))?.forget();
        Ok(Place { room: Arc::clone(self), is_stream, answer_bytes: 0 })
    }

    fn places(&self, is_stream: bool) -> &Semaphore {
        if is_stream { &self.streams } else { &self.calls }
    }
}

impl Place {
    /// Room for a message of the answer, in place of the one before, which was taken; or UNAVAILABLE.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        if u32::try_from(bytes) == Ok(self.answer_bytes) {
            return Ok(());
        }
        self.give_back_bytes();
        if bytes <= SMALL_BYTES {
            return Ok(());
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = self.room.answer_bytes.try_acquire_many(bytes);
        permit.map_err(|_| overloaded("too many answers wait to be read"))?.forget();
        self.answer_bytes = bytes;
        Ok(())
    }

    fn give_back_bytes(&mut self) {
        if self.answer_bytes > 0 {
            self.room.answer_bytes.add_permits(self.answer_bytes as usize);
            self.answer_bytes = 0;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back_bytes();
        self.room.places(self.is_stream).add_permits(1);
    }
}

fn overloaded(message: &str) -> Status {
    metrics::counter!("grpc_overloaded_total").increment(1);
    status::Error::unavailable("OVERLOADED", message, std::time::Duration::from_secs(1)).into()
}
