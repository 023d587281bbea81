//! Copies of snippets in Redis, shared by all replicas.

mod breaker;
mod changes;
mod encoding;
mod trust;

use super::lifetime;
use crate::{
    domain::{Snippet, SnippetId, SnippetMetadata, Version},
    ports::{CacheEntry, CacheError, Cause, SnippetCache},
};
use async_trait::async_trait;
use breaker::Breaker;
use changes::Changes;
use chrono::Utc;
use parking_lot::Mutex;
use redis::{
    AsyncCommands as _, Client, ConnectionInfo, IntoConnectionInfo as _, RedisError, Script,
    ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use secrecy::{ExposeSecret as _, SecretString};
use std::{sync::Arc, time::Duration};
use thread_local::ThreadLocal;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use trust::Trust;

/// How to reach the cache.
#[derive(Debug, Clone)]
pub struct Options {
    /// `redis://user:password@host:port/`.
    pub url: SecretString,
    /// What every key begins with.
    pub key_prefix: String,
    /// How long a command may take, connecting included. The store is not much slower, so that waiting longer
    /// gains nothing.
    pub command_timeout: Duration,
}

impl Options {
    /// Keys begin with `snippets:v1`, and commands take up to 200 ms.
    pub fn new(url: SecretString) -> Self {
        Self { url, key_prefix: "snippets:v1".to_owned(), command_timeout: Duration::from_millis(200) }
    }
}

/// A cache in Redis. Reading is one GET; writing is one script, so that comparing versions and storing are one
/// step. Cloning shares the connections.
#[derive(Clone)]
pub struct RedisSnippetCache {
    client: Client,
    config: ConnectionManagerConfig,
    /// One for each server thread, driven by that thread's runtime: commands of concurrent calls leave in one write, and
    /// no answer has to wake another thread. One that hung is thrown away: whatever was lost on the way, it may never speak
    /// again.
    connections: Arc<ThreadLocal<Mutex<Option<ConnectionManager>>>>,
    key_prefix: String,
    /// Where replicas tell each other which snippets they have changed.
    channel: String,
    command_timeout: Duration,
    breaker: Arc<Breaker>,
    trust: Arc<Trust>,
    put: Script,
    invalidate: Script,
}

impl RedisSnippetCache {
    /// Connects on first use, and again whenever a connection breaks. Fails on a malformed URL.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(options.command_timeout))
            .set_response_timeout(Some(options.command_timeout))
            // A caller does not wait for another try: the next command makes one.
            .set_number_of_retries(0);
        Ok(Self {
            client: Client::open(connection_info(&options.url)?)?,
            config,
            connections: Arc::default(),
            key_prefix: options.key_prefix.clone(),
            channel: format!("{}:changes", options.key_prefix),
            command_timeout: options.command_timeout,
            breaker: Arc::new(Breaker::new()),
            trust: Arc::default(),
            put: Script::new(include_str!("../../../lua/put.lua")),
            invalidate: Script::new(include_str!("../../../lua/invalidate.lua")),
        })
    }

    /// Succeeds when Redis answers.
    pub async fn check(&self) -> Result<(), CacheError> {
        let mut connection = self.connection()?;
        self.bounded(async move { connection.ping::<()>().await }).await
    }

    /// This thread's connection.
    fn connection(&self) -> Result<ConnectionManager, CacheError> {
        let mut open = self.connections.get_or_default().lock();
        if let Some(connection) = &*open {
            return Ok(connection.clone());
        }
        let new = ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone());
        let connection = new.map_err(|error| CacheError::Unavailable(error.into()))?;
        *open = Some(connection.clone());
        Ok(connection)
    }

    fn key(&self, id: &SnippetId) -> String {
        format!("{}:{id}", self.key_prefix)
    }

    /// A Redis that hangs costs one command its timeout now and then, not every command.
    async fn bounded<T>(
        &self,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, CacheError> {
        if !self.breaker.lets_through() {
            return Err(CacheError::Unavailable("it hung a moment ago".into()));
        }
        let result = match timeout(self.command_timeout, command).await {
            Ok(result) => result.map_err(|error| (error.is_timeout(), Cause::from(error))),
            Err(elapsed) => Err((true, Cause::from(elapsed))),
        };
        match &result {
            Ok(_) => self.trust.answered(),
            Err(_) => self.trust.failed(),
        }
        match &result {
            Err((true, _)) => {
                *self.connections.get_or_default().lock() = None;
                self.breaker.hung();
            }
            Ok(_) | Err((false, _)) => self.breaker.answered(),
        }
        result.map_err(|(_, cause)| CacheError::Unavailable(cause))
    }

    /// A run of a script that stores an entry under the key of `id`.
    fn storing<'a>(
        &self,
        script: &'a Script,
        id: &SnippetId,
        version: Version,
        entry: &[u8],
        lifetime: Duration,
    ) -> ScriptInvocation<'a> {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let mut invocation = script.key(self.key(id));
        invocation.arg(version.get()).arg(entry).arg(lifetime_ms);
        invocation
    }

    /// Whether the script stored the entry.
    async fn store(&self, invocation: ScriptInvocation<'_>) -> Result<bool, CacheError> {
        let mut connection = self.connection()?;
        self.bounded(async move { invocation.invoke_async(&mut connection).await }).await
    }
}

#[async_trait]
impl SnippetCache for RedisSnippetCache {
    async fn get(&self, id: &SnippetId) -> Result<CacheEntry, CacheError> {
        let (key, mut connection) = (self.key(id), self.connection()?);
        let entry: Option<Vec<u8>> = self.bounded(async move { connection.get(key).await }).await?;
        let trusted = |stored| self.trust.covers(stored);
        entry.map_or(Ok(CacheEntry::Miss), |entry| encoding::decode(*id, &entry, trusted))
    }

    async fn put(&self, snippet: &Snippet) -> Result<bool, CacheError> {
        let SnippetMetadata { id, version, .. } = &snippet.metadata;
        let entry = encoding::copy(snippet, Utc::now());
        self.store(self.storing(&self.put, id, *version, &entry, lifetime::of_copy())).await
    }

    async fn invalidate(&self, id: &SnippetId, version: Version) -> Result<(), CacheError> {
        let entry = encoding::tombstone(version);
        let mut invocation = self.storing(&self.invalidate, id, version, &entry, lifetime::OF_TOMBSTONE);
        invocation.arg(&self.channel).arg(id.as_str());
        self.store(invocation).await.map(drop)
    }

    async fn follow(&self, listener: Arc<dyn Fn(SnippetId) + Send + Sync>, stop: CancellationToken) {
        match Changes::new(&self.client, self.channel.clone()) {
            Ok(changes) => changes.follow(listener, stop).await,
            // The address was good for the client, so it is for this one.
            Err(error) => {
                tracing::error!(%error, "changes can't be followed");
                stop.cancelled().await;
            }
        }
    }
}

fn connection_info(url: &SecretString) -> Result<ConnectionInfo, RedisError> {
    // Off by default, and then small commands wait for the acknowledgement of those before them.
    let settings = TcpSettings::default().set_nodelay(true);
    // A peer that vanished without a word is given up in seconds; the kernel's own patience is a quarter hour.
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(Duration::from_secs(2));
    url.expose_secret().into_connection_info().map(|info| info.set_tcp_settings(settings))
}
