//! Where a thread keeps its connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{ErrorKind, RedisError, RedisResult};
use thread_local::ThreadLocal;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

/// Longest that an attempt to connect goes on besides what its round trips may take. Who names the master, or knows the
/// nodes, may have to be found out among those that are silent.
const SEARCH_MAX: Duration = Duration::from_secs(3);

/// Most round trips of an attempt to connect, one after the other.
const ROUND_TRIPS_MAX: u32 = 4;

/// How connections are made: by attempts that do not end with the call that needs them. A call that finds out only that it
/// waited in vain would leave the next one where it began.
#[derive(Clone)]
pub(super) struct Connecting {
    tasks: TaskTracker,
    /// Longest that a call waits.
    timeout: Duration,
}

/// A connection for each thread that has asked for one.
pub(super) struct PerThread<C: Send> {
    slots: ThreadLocal<Slot<C>>,
    connecting: Connecting,
}

/// A thread's connection, once there is one. Who connects holds the lock, so that there is one attempt at a time.
pub(super) struct Slot<C>(Arc<Mutex<Option<Open<C>>>>);

struct Open<C> {
    connection: C,
    since: Instant,
}

impl Connecting {
    pub fn new(tasks: TaskTracker, timeout: Duration) -> Self {
        Self { tasks, timeout }
    }

    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// An attempt, which is given up some time.
    pub async fn within_limit<C>(&self, attempt: impl Future<Output = RedisResult<C>>) -> RedisResult<C> {
        let limit = SEARCH_MAX + ROUND_TRIPS_MAX * self.timeout;
        tokio::time::timeout(limit, attempt).await.unwrap_or(Err(CONNECTED_NEVER.into()))
    }
}

const CONNECTED_NEVER: (ErrorKind, &str) = (ErrorKind::Io, "could not connect in time");

impl<C: Clone + Send + 'static> PerThread<C> {
    pub fn new(connecting: Connecting) -> Self {
        Self { slots: ThreadLocal::new(), connecting }
    }

    pub fn slot(&self) -> &Slot<C> {
        self.slots.get_or_default()
    }

    /// This thread's connection. The attempt to make one goes on though nobody waits for it.
    pub async fn connected<F>(&self, connect: impl FnOnce() -> F) -> RedisResult<C>
    where
        F: Future<Output = RedisResult<C>> + Send + 'static,
    {
        let slot = self.slot();
        if let Some(connection) = slot.open().await {
            return Ok(connection);
        }
        let mut held = slot.0.clone().lock_owned().await;
        if let Some(open) = &*held {
            return Ok(open.connection.clone());
        }
        let (connecting, attempt) = (self.connecting.clone(), Box::pin(connect()));
        let attempt = self.connecting.tasks.spawn(async move {
            let connection = connecting.within_limit(attempt).await?;
            *held = Some(Open::new(connection.clone()));
            Ok(connection)
        });
        attempt.await.unwrap_or_else(|_| Err(RedisError::from(CONNECTED_NEVER)))
    }

    /// Throws this thread's connection away: it is lost.
    pub fn discard(&self) {
        // Who holds the lock is about to connect anew.
        if let Ok(mut open) = self.slot().0.try_lock() {
            *open = None;
        }
    }

    /// Throws this thread's connection away after a call that was given up. A younger connection than that was not there for
    /// all of it, and may be well.
    pub fn discard_late(&self) {
        if let Ok(mut open) = self.slot().0.try_lock() {
            open.take_if(|open| open.since.elapsed() >= self.connecting.timeout);
        }
    }
}

impl<C: Clone> Slot<C> {
    /// The connection, if there is one.
    pub async fn open(&self) -> Option<C> {
        self.0.lock().await.as_ref().map(|open| open.connection.clone())
    }

    /// Puts another connection in its place.
    pub async fn replace(&self, connection: C) {
        *self.0.lock().await = Some(Open::new(connection));
    }
}

impl<C> Open<C> {
    fn new(connection: C) -> Self {
        Self { connection, since: Instant::now() }
    }
}

impl<C> Clone for Slot<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Default for Slot<C> {
    fn default() -> Self {
        Self(Arc::default())
    }
}
