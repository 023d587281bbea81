//! A queue within the process, for the embedded mode: its publisher is answered when the batch is committed.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ports::{BatchQueue, Deliveries, Delivery, QueueError, Settlement, Subscription, TraceHeaders};

/// Makes a queue that holds up to `capacity` batches; senders wait for room.
pub fn channel(capacity: usize) -> (BatchSender, ChannelQueue) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    (BatchSender(sender), ChannelQueue(Some(receiver)))
}

/// The publisher's end.
#[derive(Debug, Clone)]
pub struct BatchSender(mpsc::Sender<Message>);

/// Why a batch was not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The worker has ended. Whether it has committed the batch is not known; repeating it is safe.
    #[error("the counter worker has ended")]
    Ended,
    /// The worker found the batch malformed, so repeating it is of no use.
    #[error("the counter worker has rejected the batch")]
    Rejected,
}

impl BatchSender {
    /// Sends an encoded `views.v1.ViewBatch`, and returns once it is committed. When the future is dropped the
    /// batch may still be committed; repeating it under the same id is safe.
    ///
    /// # Errors
    /// When the batch is malformed, or the worker has ended.
    pub async fn send(&self, payload: Bytes, trace: TraceHeaders) -> Result<(), SendError> {
        let (settled, verdict) = oneshot::channel();
        self.0.send(Message { payload, trace, settled }).await.map_err(|_| SendError::Ended)?;
        match verdict.await {
            Ok(Verdict::Committed) => Ok(()),
            Ok(Verdict::Rejected) => Err(SendError::Rejected),
            Err(_dropped) => Err(SendError::Ended),
        }
    }
}

#[derive(Debug)]
struct Message {
    payload: Bytes,
    trace: TraceHeaders,
    settled: oneshot::Sender<Verdict>,
}

#[derive(Debug)]
enum Verdict {
    Committed,
    Rejected,
}

/// The worker's end. It has one subscription, which can't be lost.
#[derive(Debug)]
pub struct ChannelQueue(Option<mpsc::Receiver<Message>>);

#[async_trait]
impl BatchQueue for ChannelQueue {
    async fn subscribe(
        &mut self,
        _lost: Option<QueueError>,
        _stop: &CancellationToken,
    ) -> Option<Subscription> {
        let messages = self.0.take()?;
        let open = Arc::new(Open::default());
        let deliveries = Box::new(ChannelDeliveries { messages, last_tag: 0, open: open.clone() });
        Some(Subscription { deliveries, settlement: open })
    }
}

struct ChannelDeliveries {
    messages: mpsc::Receiver<Message>,
    last_tag: u64,
    open: Arc<Open>,
}

/// Deliveries that are not settled yet, by ascending tag: no more than the worker gathers for two flushes.
#[derive(Default)]
struct Open(Mutex<VecDeque<(u64, oneshot::Sender<Verdict>)>>);

#[async_trait]
impl Deliveries for ChannelDeliveries {
    async fn next(&mut self) -> Result<Option<Delivery>, QueueError> {
        let Some(Message { payload, trace, settled }) = self.messages.recv().await else {
            return Ok(None);
        };
        self.last_tag += 1;
        self.open.0.lock().push_back((self.last_tag, settled));
        Ok(Some(Delivery { tag: self.last_tag, payload, redelivered: false, trace }))
    }

    async fn close(self: Box<Self>) {}
}

impl Drop for ChannelDeliveries {
    /// Whoever still waits learns that nobody will settle its batch any more.
    fn drop(&mut self) {
        self.open.0.lock().clear();
    }
}

#[async_trait]
impl Settlement for Open {
    async fn ack_up_to(&self, tag: u64) -> Result<(), QueueError> {
        let mut open = self.0.lock();
        let count = open.partition_point(|(open, _)| *open <= tag);
        for (_, settled) in open.drain(..count) {
            // A publisher that has given up will send the batch again, to no effect.
            let _ = settled.send(Verdict::Committed);
        }
        Ok(())
    }

    async fn reject(&self, tag: u64) -> Result<(), QueueError> {
        let mut open = self.0.lock();
        let found = open.binary_search_by_key(&tag, |(open, _)| *open).ok();
        if let Some((_, settled)) = found.and_then(|at| open.remove(at)) {
            let _ = settled.send(Verdict::Rejected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn subscription(queue: &mut ChannelQueue) -> Subscription {
        queue.subscribe(None, &CancellationToken::new()).await.expect("the first subscription")
    }

    #[tokio::test]
    async fn a_sender_is_answered_when_its_batch_is_settled() {
        let (sender, mut queue) = channel(8);
        let Subscription { mut deliveries, settlement } = subscription(&mut queue).await;
        let deliver = |text: &'static str| sender.send(Bytes::from_static(text.as_bytes()), Vec::new());
        let settle = async {
            for expected in ["a", "b", "c"] {
                let delivery = deliveries.next().await.expect("never lost").expect("not closed");
                assert_eq!(delivery.payload, expected);
            }
            settlement.reject(2).await.expect("never lost");
            settlement.ack_up_to(3).await.expect("never lost");
        };
        let (a, b, c, ()) = tokio::join!(deliver("a"), deliver("b"), deliver("c"), settle);
        assert_eq!((a, b, c), (Ok(()), Err(SendError::Rejected), Ok(())));
    }

    #[tokio::test]
    async fn a_sender_learns_that_the_worker_has_ended() {
        let (sender, mut queue) = channel(8);
        let mut worker = subscription(&mut queue).await;
        let end = async {
            worker.deliveries.next().await.expect("never lost");
            drop(worker.deliveries);
        };
        let (sent, ()) = tokio::join!(sender.send(Bytes::new(), Vec::new()), end);
        assert_eq!(sent, Err(SendError::Ended));
        assert_eq!(sender.send(Bytes::new(), Vec::new()).await, Err(SendError::Ended));
    }
}
