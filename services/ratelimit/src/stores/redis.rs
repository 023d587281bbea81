//! Counters in Redis, shared by all replicas.

mod clock;
mod script;

use std::time::Duration;

use async_trait::async_trait;
use redis::{
    Client, IntoConnectionInfo as _, RedisError, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use secrecy::{ExposeSecret as _, SecretString};
use thread_local::ThreadLocal;

use self::{
    clock::RedisClock,
    script::{Reply, Scripts, decode_receipt},
};
use super::{Answer, CounterKey, CounterStore, Decided, Order, Receipt, ReceiptKey, Refund, StoreError};

/// How often a quota's period is taken anew from Redis' clock, which moves on to another in between once in a blue moon.
const PERIOD_TRIES_MAX: usize = 3;

/// How long sent data may stay unacknowledged before the connection counts as lost.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

/// How to reach the counters.
#[derive(Debug, Clone)]
pub struct RedisCountersConfig {
    /// Such as `redis://user:password@host:6379/0`.
    pub url: SecretString,
    /// Before every key, so that several systems can share a Redis.
    pub key_prefix: String,
    /// Longest that a Check waits for Redis, connecting included.
    pub timeout: Duration,
}

/// Charges by one script call a request, whatever the number of rules. The time is that of Redis, and every key expires.
///
/// It starts with Redis away. A failed or lost connection is made anew by the calls that find it so, one attempt at a
/// time for all of them, each within its timeout.
pub struct RedisCounters {
    client: Client,
    options: ConnectionManagerConfig,
    /// One for each server thread, driven by that thread's runtime: script calls of concurrent Checks leave in one write,
    /// and no answer has to wake another thread.
    connections: ThreadLocal<ConnectionManager>,
    scripts: Scripts,
    clock: RedisClock,
    key_prefix: String,
    timeout: Duration,
}

impl RedisCounters {
    /// Reaches for Redis at the first call only.
    ///
    /// # Errors
    /// [`StoreError::Away`] when the URL is not one.
    pub fn new(config: RedisCountersConfig) -> Result<Self, StoreError> {
        let client = Client::open(
            config.url.expose_secret().into_connection_info()?.set_tcp_settings(tcp_settings()),
        )?;
        let options = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(config.timeout))
            .set_response_timeout(Some(config.timeout))
            // Without retries a call learns at once that Redis is away, and the next call is the retry.
            .set_number_of_retries(0);
        Ok(Self {
            client,
            options,
            connections: ThreadLocal::new(),
            scripts: Scripts::new(),
            clock: RedisClock::default(),
            key_prefix: config.key_prefix,
            timeout: config.timeout,
        })
    }

    /// This thread's connection.
    fn connection(&self) -> Result<ConnectionManager, StoreError> {
        let new = || ConnectionManager::new_lazy_with_config(self.client.clone(), self.options.clone());
        Ok(self.connections.get_or_try(new).cloned()?)
    }

    async fn check(&self, order: &Order) -> Result<Reply, StoreError> {
        let invocation = self.scripts.check(&self.key_prefix, order, self.clock.now_us());
        let mut connection = self.connection()?;
        let value: Value = self.in_time(invocation.invoke_async(&mut connection)).await?;
        Reply::decode(value, order.charges.len())
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
        let answered = tokio::time::timeout(self.timeout, call).await;
        Ok(answered.map_err(|_| StoreError::TimedOut)??)
    }
}

#[async_trait]
impl CounterStore for RedisCounters {
    async fn charge(&self, order: &Order) -> Result<Answer, StoreError> {
        if order.charges.is_empty() && order.receipt.is_none() {
            return Ok(Answer::Decided(Decided { at_us: self.clock.now_us(), decisions: Vec::new() }));
        }
        for _ in 0..PERIOD_TRIES_MAX {
            match self.check(order).await? {
                Reply::Decided(decided) => return Ok(Answer::Decided(decided)),
                Reply::Known(receipt) => return Ok(Answer::Known(receipt)),
                Reply::OtherPeriod(now_us) => self.clock.set(now_us),
            }
        }
        Err(StoreError::Malformed("a clock that runs through days"))
    }

    async fn receipt(&self, key: &ReceiptKey) -> Result<Option<Receipt>, StoreError> {
        let get = redis::cmd("GET").arg(format!("{}:{key}", self.key_prefix)).to_owned();
        let mut connection = self.connection()?;
        let bytes: Option<Vec<u8>> = self.in_time(get.query_async(&mut connection)).await?;
        bytes.map(|bytes| decode_receipt(&bytes.into())).transpose()
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        let invocation = self.scripts.give_back(&self.key_prefix, refund);
        let mut connection = self.connection()?;
        self.in_time(invocation.invoke_async(&mut connection)).await
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        if counters.is_empty() {
            return Ok(());
        }
        let mut unlink = redis::cmd("UNLINK");
        for key in counters {
            unlink.arg(format!("{}:{key}", self.key_prefix));
        }
        let mut connection = self.connection()?;
        self.in_time(unlink.exec_async(&mut connection)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut connection = self.connection()?;
        self.in_time(redis::cmd("PING").exec_async(&mut connection)).await
    }
}

/// Nagle's algorithm, which is on by default, would hold a Check back while another's answer is under way. And a peer
/// that vanished without a word is given up after some seconds, not after the kernel's quarter of an hour.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED_MAX);
    settings
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Away(Box::new(error)) }
    }
}
