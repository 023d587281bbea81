//! Counters in Redis, shared by all replicas.

mod batch;
mod clock;
mod lane;
mod packed;
mod script;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use redis::{
    Client, ErrorKind, IntoConnectionInfo as _, RedisError, ServerErrorKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use secrecy::{ExposeSecret as _, SecretString};
use thread_local::ThreadLocal;

use self::{
    batch::{Arguments, Reply, decode_receipt, prefixed},
    clock::RedisClock,
    lane::{Decide, Lanes},
    packed::{Packer, micros},
    script::StoredScript,
};
use super::{
    Answer, CounterCharge, CounterKey, CounterStore, Decided, Order, Receipt, ReceiptKey, Refund, StoreError,
};

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
    /// Longest that a batch of Checks waits for Redis, connecting included.
    pub timeout: Duration,
}

/// Charges by a script, one call for a batch of concurrent requests, whatever the number of rules. The time is that of
/// Redis, and every key expires.
///
/// It starts with Redis away. A failed or lost connection is made anew by the calls that find it so, one attempt at a
/// time for all of them, each within its timeout.
pub struct RedisCounters {
    server: Arc<Server>,
    lanes: Lanes<Server>,
}

struct Server {
    client: Client,
    options: ConnectionManagerConfig,
    /// One for each server thread, driven by that thread's runtime.
    connections: ThreadLocal<ConnectionManager>,
    check: StoredScript,
    give_back: StoredScript,
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
        let server = Arc::new(Server::new(config)?);
        Ok(Self { lanes: Lanes::new(server.clone()), server })
    }
}

#[async_trait]
impl CounterStore for RedisCounters {
    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        if order.charges.is_empty() {
            let at_us = self.server.clock.now_us();
            return Ok(Answer::Decided(Decided { at_us, decisions: Vec::new(), grants: Vec::new() }));
        }
        self.lanes.decide(order).await
    }

    async fn receipt(&self, key: &ReceiptKey) -> Result<Option<Receipt>, StoreError> {
        let get = redis::cmd("GET").arg(self.server.key(key)).to_owned();
        let mut connection = self.server.connection()?;
        let bytes: Option<Vec<u8>> = self.server.in_time(get.query_async(&mut connection)).await?;
        bytes.map(|bytes| decode_receipt(&Bytes::from(bytes))).transpose()
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        let call = self.server.refund(refund);
        let mut connection = self.server.connection()?;
        self.server.in_time(self.server.give_back.run(&mut connection, &call)).await
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        if counters.is_empty() {
            return Ok(());
        }
        let mut unlink = redis::cmd("UNLINK");
        for key in counters {
            unlink.arg(self.server.key(key));
        }
        let mut connection = self.server.connection()?;
        self.server.in_time(unlink.exec_async(&mut connection)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut connection = self.server.connection()?;
        self.server.in_time(redis::cmd("PING").exec_async(&mut connection)).await
    }
}

impl Server {
    fn new(config: RedisCountersConfig) -> Result<Self, StoreError> {
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
            check: StoredScript::new(CHECK),
            give_back: StoredScript::new(GIVE_BACK),
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

    fn key(&self, key: impl AsRef<str>) -> Vec<u8> {
        prefixed(&self.key_prefix, key)
    }

    /// The arguments of give_back.lua.
    fn refund(&self, refund: &Refund) -> Arguments {
        let mut call = Arguments { args: vec![refund.slot.as_bytes().to_vec()], keys: Vec::new() };
        for (CounterCharge { key, charge, .. }, told) in &refund.charges {
            let (mut counter, mut charged) = (Packer::default(), Packer::default());
            counter.parameters(&charge.algorithm, None);
            charged.number(charge.cost).number(refund.charged_us).number(micros(told.reset_after));
            call.keys.push(self.key(key));
            call.args.extend([counter.0, charged.0]);
        }
        call.keys.extend(refund.receipt.as_ref().map(|receipt| self.key(receipt)));
        call
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
        let answered = tokio::time::timeout(self.timeout, call).await;
        Ok(answered.map_err(|_| StoreError::TimedOut)??)
    }
}

impl Decide for Server {
    async fn decide(&self, orders: &[Arc<Order>]) -> Result<Vec<Answer>, StoreError> {
        for _ in 0..PERIOD_TRIES_MAX {
            let call = batch::encode(&self.key_prefix, orders, self.clock.now_us());
            let mut connection = self.connection()?;
            let value: Value = self.in_time(self.check.run(&mut connection, &call)).await?;
            match Reply::decode(value, orders)? {
                Reply::Answers(answers) => return Ok(answers),
                Reply::OtherPeriod(now_us) => self.clock.set(now_us),
            }
        }
        Err(StoreError::Malformed("a clock that runs through days"))
    }
}

const CHECK: &str = concat!(include_str!("../../lua/counters.lua"), include_str!("../../lua/check.lua"));
const GIVE_BACK: &str =
    concat!(include_str!("../../lua/counters.lua"), include_str!("../../lua/give_back.lua"));

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
        match error.kind() {
            _ if error.is_timeout() => Self::TimedOut,
            // A server that reads its data from disk answers, and can't do anything yet.
            ErrorKind::Server(kind) if kind != ServerErrorKind::BusyLoading => Self::Refused(Arc::new(error)),
            _ => Self::Away(Arc::new(error)),
        }
    }
}
