//! Counters in Redis, shared by all replicas.

use std::time::Duration;

use async_trait::async_trait;
use ratelimit_core::{Algorithm, Charge, Decision};
use redis::{
    Client, IntoConnectionInfo as _, RedisError, Script, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use secrecy::{ExposeSecret as _, SecretString};
use thread_local::ThreadLocal;

use super::{CounterCharge, CounterStore, StoreError};

/// Whole numbers that the script gives for each charge.
const NUMBERS_PER_CHARGE: usize = 4;

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
    script: Script,
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
            script: Script::new(include_str!("../../lua/check.lua")),
            key_prefix: config.key_prefix,
            timeout: config.timeout,
        })
    }

    /// [`CounterStore::charge`] that also gives the time of Redis, in microseconds, that was decided at.
    pub async fn charge_and_tell_time(
        &self,
        charges: &[CounterCharge],
        peek: bool,
    ) -> Result<(u64, Vec<Decision>), StoreError> {
        let invocation = self.invocation(charges, peek);
        let mut connection = self.connection()?;
        let numbers: Vec<u64> = self.in_time(invocation.invoke_async(&mut connection)).await?;
        decode(&numbers, charges.len())
    }

    /// This thread's connection.
    fn connection(&self) -> Result<ConnectionManager, StoreError> {
        let new = || ConnectionManager::new_lazy_with_config(self.client.clone(), self.options.clone());
        Ok(self.connections.get_or_try(new).cloned()?)
    }

    fn invocation(&self, charges: &[CounterCharge], peek: bool) -> ScriptInvocation<'_> {
        let mut invocation = self.script.prepare_invoke();
        invocation.arg(u8::from(peek));
        for CounterCharge { key, charge, .. } in charges {
            invocation.key(format!("{}:{key}", self.key_prefix));
            push_arguments(&mut invocation, charge);
        }
        invocation
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
        let answered = tokio::time::timeout(self.timeout, call).await;
        Ok(answered.map_err(|_| StoreError::TimedOut)??)
    }
}

#[async_trait]
impl CounterStore for RedisCounters {
    async fn charge(&self, charges: &[CounterCharge], peek: bool) -> Result<Vec<Decision>, StoreError> {
        if charges.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.charge_and_tell_time(charges, peek).await?.1)
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

/// In the order of the script's header.
fn push_arguments(invocation: &mut ScriptInvocation<'_>, charge: &Charge) {
    invocation.arg(charge.algorithm.name()).arg(u8::from(charge.shadow)).arg(charge.cost);
    match charge.algorithm {
        Algorithm::FixedWindow(window) => {
            let period_us = u64::try_from(window.period().as_micros()).unwrap_or(u64::MAX);
            invocation.arg(window.limit()).arg(period_us).arg(0);
        }
        Algorithm::TokenBucket(bucket) => {
            invocation.arg(bucket.burst()).arg(bucket.refill()).arg(bucket.per());
        }
    }
}

fn decode(numbers: &[u64], charges: usize) -> Result<(u64, Vec<Decision>), StoreError> {
    let (now_us, rest) = numbers.split_first().ok_or(StoreError::Malformed("no time"))?;
    let (decisions, []) = rest.as_chunks::<NUMBERS_PER_CHARGE>() else {
        return Err(StoreError::Malformed("not four numbers for each charge"));
    };
    if decisions.len() != charges {
        return Err(StoreError::Malformed("not a decision for each charge"));
    }
    Ok((*now_us, decisions.iter().map(decision).collect()))
}

fn decision([allowed, remaining, reset_after_us, retry_after_us]: &[u64; NUMBERS_PER_CHARGE]) -> Decision {
    Decision {
        allowed: *allowed == 1,
        remaining: *remaining,
        reset_after: Duration::from_micros(*reset_after_us),
        retry_after: (*retry_after_us > 0).then(|| Duration::from_micros(*retry_after_us)),
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Away(Box::new(error)) }
    }
}
