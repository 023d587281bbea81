//! Counters in Redis, shared by all replicas.

mod address;
mod batch;
mod clock;
mod cluster;
mod connection;
mod lane;
mod meters;
mod nodes;
mod packed;
mod round;
mod script;
mod sentinel;
mod slot;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use tokio_util::task::TaskTracker;

pub use self::address::{InvalidAddress, RedisAddress};
use self::{
    batch::{Arguments, Reply, decode_receipt, prefixed},
    clock::RedisClock,
    connection::Connections,
    lane::{Decide, Lanes},
    meters::Meters,
    packed::{Packer, micros},
    script::StoredScript,
};
use super::{
    Answer, CounterCharge, CounterKey, CounterStore, Decided, Order, Receipt, ReceiptKey, Refund, StoreError,
    Watch,
};

/// How often a quota's period is taken anew from Redis' clock, which moves on to another in between once in a blue moon.
const PERIOD_TRIES_MAX: usize = 3;

/// How to reach the counters.
#[derive(Debug, Clone)]
pub struct RedisCountersConfig {
    /// Where they are.
    pub address: RedisAddress,
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
    connections: Connections,
    check: StoredScript,
    give_back: StoredScript,
    settle: StoredScript,
    clock: RedisClock,
    meters: Meters,
    key_prefix: String,
    timeout: Duration,
    watch: Watch,
    /// What goes on though nobody waits for it.
    tasks: TaskTracker,
}

impl RedisCounters {
    /// Reaches for Redis at the first call only, and tells the watch what becomes of calls.
    ///
    /// # Errors
    /// [`StoreError::Away`] when the address can't be one.
    pub fn new(config: RedisCountersConfig, watch: Watch) -> Result<Self, StoreError> {
        let tasks = TaskTracker::new();
        let server = Arc::new(Server {
            connections: Connections::new(config.address, config.timeout, tasks.clone())?,
            check: StoredScript::new(CHECK),
            give_back: StoredScript::new(GIVE_BACK),
            settle: StoredScript::new(include_str!("../../lua/settle.lua")),
            clock: RedisClock::default(),
            meters: Meters::default(),
            key_prefix: config.key_prefix,
            timeout: config.timeout,
            watch,
            tasks,
        });
        Ok(Self { lanes: Lanes::new(server.clone()), server })
    }
}

#[async_trait]
impl CounterStore for RedisCounters {
    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        if order.charges.is_empty() {
            let at_us = self.server.clock.now_us();
            return Ok(Answer::Decided(Decided { at_us, ..Decided::default() }));
        }
        if self.server.connections.is_cluster() {
            self.server.charge_in_parts(order).await
        } else {
            self.lanes.decide(order).await
        }
    }

    async fn receipts(&self, key: &ReceiptKey) -> Result<Vec<Receipt>, StoreError> {
        Ok(self.server.kept_receipt(key).await?.into_iter().collect())
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        if self.server.connections.is_cluster() {
            self.server.give_back_in_parts(refund).await
        } else {
            self.server.run_give_back(refund).await
        }
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        if counters.is_empty() {
            return Ok(());
        }
        let mut unlink = redis::cmd("UNLINK");
        for key in counters {
            unlink.arg(self.server.key(key));
        }
        self.server.query(&unlink).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.server.query(&redis::cmd("PING")).await
    }
}

impl Server {
    fn key(&self, key: impl AsRef<str>) -> Vec<u8> {
        prefixed(&self.key_prefix, key)
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.in_time(self.connections.query(command)).await
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
        let began = Instant::now();
        let answered = tokio::time::timeout(self.timeout, call).await;
        if answered.is_err() {
            self.connections.discard();
        }
        let result = answered.map_or(Err(StoreError::TimedOut), |answered| Ok(answered?));
        self.watch.note(began, &result);
        result
    }

    async fn kept_receipt(&self, key: &ReceiptKey) -> Result<Option<Receipt>, StoreError> {
        let get = redis::cmd("GET").arg(self.key(key)).to_owned();
        let bytes: Option<Vec<u8>> = self.query(&get).await?;
        bytes.map_or(Ok(None), |bytes| decode_receipt(&Bytes::from(bytes)))
    }

    async fn decide_one(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        let answers = self.decide(std::slice::from_ref(order)).await?;
        answers.into_iter().next().ok_or(StoreError::Malformed("no answer"))
    }

    async fn run_check(&self, orders: &[Arc<Order>]) -> Result<Reply, StoreError> {
        let call = batch::encode(&self.key_prefix, orders, self.clock.now_us());
        let began = Instant::now();
        let value: Result<Value, _> = self.in_time(self.check.run(&self.connections, &call)).await;
        self.meters.record(began.elapsed(), orders.len(), value.is_ok());
        Reply::decode(value?, orders)
    }

    /// In the order of the script's header.
    async fn run_give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        let mut call = Arguments { args: vec![refund.slot.as_bytes().to_vec()], keys: Vec::new() };
        for (CounterCharge { key, charge, .. }, told) in &refund.charges {
            let (mut counter, mut charged) = (Packer::default(), Packer::default());
            counter.parameters(&charge.algorithm, None);
            charged.number(charge.cost).number(refund.charged_us).number(micros(told.reset_after));
            call.keys.push(self.key(key));
            call.args.extend([counter.0, charged.0]);
        }
        call.keys.extend(refund.receipt.as_ref().map(|receipt| self.key(receipt)));
        self.in_time(self.give_back.run(&self.connections, &call)).await
    }
}

impl Decide for Server {
    async fn decide(&self, orders: &[Arc<Order>]) -> Result<Vec<Answer>, StoreError> {
        for _ in 0..PERIOD_TRIES_MAX {
            match self.run_check(orders).await? {
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

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            _ if error.is_timeout() => Self::TimedOut,
            // A server that reads its data from disk, or a cluster without some of its nodes, can't do anything yet.
            ErrorKind::Server(kind)
                if !matches!(
                    kind,
                    ServerErrorKind::BusyLoading | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown
                ) =>
            {
                Self::Refused(Arc::new(error))
            }
            _ => Self::Away(Arc::new(error)),
        }
    }
}
