//! A queue that fails on command.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use counter_worker::ports::{BatchQueue, Deliveries, Delivery, QueueError, Settlement, Subscription};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What has happened, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// So many batches were handed to the store.
    Begun(usize),
    /// So many batches were committed.
    Committed(usize),
    /// All deliveries up to this tag were acknowledged.
    Acked(u64),
}

/// What a broker would know.
#[derive(Default)]
pub struct Broker {
    pub waiting: VecDeque<Bytes>,
    /// What was delivered and is not settled, by tag. Of one subscription at a time.
    pub open: VecDeque<(u64, Bytes)>,
    pub acked: usize,
    pub rejected: Vec<Bytes>,
    /// How many acknowledgements are still to be lost, and the subscription with them.
    pub acks_to_lose: u32,
    pub subscriptions: u32,
    pub log: Vec<Event>,
}

#[derive(Clone, Default)]
pub struct FakeQueue(Arc<(Mutex<Broker>, Notify)>);

impl FakeQueue {
    pub fn of(payloads: Vec<Bytes>) -> Self {
        let queue = Self::default();
        queue.lock().waiting = payloads.into();
        queue
    }

    pub fn lock(&self) -> MutexGuard<'_, Broker> {
        self.0.0.lock().expect("not poisoned")
    }

    /// Ends the subscription that there is.
    pub fn lose_subscription(&self) {
        self.0.1.notify_one();
    }
}

#[async_trait]
impl BatchQueue for FakeQueue {
    async fn subscribe(
        &mut self,
        _lost: Option<QueueError>,
        stop: &CancellationToken,
    ) -> Option<Subscription> {
        if stop.is_cancelled() {
            return None;
        }
        let mut broker = self.lock();
        broker.subscriptions += 1;
        let settlement = FakeSettlement { queue: self.clone(), subscription: broker.subscriptions };
        let deliveries = FakeDeliveries { queue: self.clone(), last_tag: 0 };
        Some(Subscription { deliveries: Box::new(deliveries), settlement: Arc::new(settlement) })
    }
}

struct FakeDeliveries {
    queue: FakeQueue,
    last_tag: u64,
}

impl Drop for FakeDeliveries {
    fn drop(&mut self) {
        let mut broker = self.queue.lock();
        let open: Vec<Bytes> = broker.open.drain(..).map(|(_, payload)| payload).collect();
        for payload in open.into_iter().rev() {
            broker.waiting.push_front(payload);
        }
    }
}

#[async_trait]
impl Deliveries for FakeDeliveries {
    async fn next(&mut self) -> Result<Option<Delivery>, QueueError> {
        let payload = self.queue.lock().waiting.pop_front();
        let Some(payload) = payload else {
            self.queue.0.1.notified().await;
            return Err(QueueError("the connection is gone".into()));
        };
        self.last_tag += 1;
        self.queue.lock().open.push_back((self.last_tag, payload.clone()));
        Ok(Some(Delivery { tag: self.last_tag, payload, redelivered: false, trace: Vec::new() }))
    }

    async fn close(self: Box<Self>) {}
}

struct FakeSettlement {
    queue: FakeQueue,
    subscription: u32,
}

impl FakeSettlement {
    /// The broker, if it still knows this subscription.
    fn lock(&self) -> Result<MutexGuard<'_, Broker>, QueueError> {
        let broker = self.queue.lock();
        let is_known = broker.subscriptions == self.subscription;
        is_known.then_some(broker).ok_or_else(|| QueueError("the connection is gone".into()))
    }
}

#[async_trait]
impl Settlement for FakeSettlement {
    async fn ack_up_to(&self, tag: u64) -> Result<(), QueueError> {
        let mut broker = self.lock()?;
        if broker.acks_to_lose > 0 {
            broker.acks_to_lose -= 1;
            return Err(QueueError("the connection is gone".into()));
        }
        let is_open = broker.open.iter().any(|(open, _)| *open == tag);
        assert!(is_open, "a broker ends the channel for an unknown tag");
        let settled = broker.open.iter().filter(|(open, _)| *open <= tag).count();
        broker.open.drain(..settled);
        broker.acked += settled;
        broker.log.push(Event::Acked(tag));
        Ok(())
    }

    async fn reject(&self, tag: u64) -> Result<(), QueueError> {
        let mut broker = self.lock()?;
        let at = broker.open.iter().position(|(open, _)| *open == tag).expect("an open tag");
        let rejected = broker.open.remove(at).map(|(_, payload)| payload);
        broker.rejected.extend(rejected);
        Ok(())
    }
}
