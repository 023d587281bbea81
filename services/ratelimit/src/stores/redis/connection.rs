//! Connections: one for each server thread, driven by that thread's runtime.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisResult,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use thread_local::ThreadLocal;
use tokio::sync::Mutex;

use super::address::{RedisAddress, tcp_settings};

/// Connections that are made when they are needed, one attempt at a time for each thread. Those that are lost, or on which
/// an answer is late, are thrown away, and the next call makes a new one: whatever was lost on the way, a connection may
/// never speak again.
pub(super) enum Connections {
    Server {
        client: Client,
        options: AsyncConnectionConfig,
        open: PerThread<MultiplexedConnection>,
    },
    Sentinel {
        client: Mutex<SentinelClient>,
        options: AsyncConnectionConfig,
        open: PerThread<MultiplexedConnection>,
    },
    Cluster {
        client: ClusterClient,
        open: PerThread<ClusterConnection>,
    },
}

impl Connections {
    /// Connects within that time, and waits for an answer for that long.
    pub fn new(address: RedisAddress, timeout: Duration) -> RedisResult<Self> {
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        match address {
            RedisAddress::Server(info) => {
                Ok(Self::Server { client: Client::open(info)?, options, open: PerThread::default() })
            }
            RedisAddress::Sentinel { sentinels, master, login } => {
                let client = SentinelClientBuilder::new(sentinels, &master, SentinelServerType::Master)?
                    .set_client_to_redis_tcp_settings(tcp_settings())
                    .set_client_to_sentinel_tcp_settings(tcp_settings())
                    .set_client_to_redis_db(login.redis_settings().db());
                let client = Mutex::new(log_in(client, &login).build()?);
                Ok(Self::Sentinel { client, options, open: PerThread::default() })
            }
            RedisAddress::Cluster(nodes) => {
                let client = ClusterClient::builder(nodes)
                    .connection_timeout(timeout)
                    .response_timeout(timeout)
                    .tcp_settings(tcp_settings())
                    .build()?;
                Ok(Self::Cluster { client, open: PerThread::default() })
            }
        }
    }

    /// Whether counters are spread over nodes, so that a script can work on those of one subject only.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    /// Runs a command on this thread's connection.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Server { client, options, open } => {
                open.query(command, || client.get_multiplexed_async_connection_with_config(options)).await
            }
            Self::Sentinel { client, options, open } => {
                let connect = async || client.lock().await.get_async_connection_with_config(options).await;
                open.query(command, connect).await
            }
            Self::Cluster { client, open } => open.query(command, || client.get_async_connection()).await,
        }
    }

    /// Throws this thread's connection away: a call on it was given up.
    pub fn discard(&self) {
        match self {
            Self::Server { open, .. } | Self::Sentinel { open, .. } => open.discard(),
            Self::Cluster { open, .. } => open.discard(),
        }
    }
}

/// A connection for each thread that has asked for one.
pub(super) struct PerThread<C: Send>(ThreadLocal<Mutex<Option<C>>>);

impl<C: ConnectionLike + Clone + Send> PerThread<C> {
    async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
        connect: impl AsyncFnOnce() -> RedisResult<C>,
    ) -> RedisResult<T> {
        let mut connection = self.connected(connect).await?;
        let answer = command.query_async(&mut connection).await;
        if answer.as_ref().is_err_and(is_lost) {
            self.discard();
        }
        answer
    }

    async fn connected(&self, connect: impl AsyncFnOnce() -> RedisResult<C>) -> RedisResult<C> {
        let mut open = self.0.get_or_default().lock().await;
        if let Some(connection) = &*open {
            return Ok(connection.clone());
        }
        let connection = Box::pin(connect()).await?;
        *open = Some(connection.clone());
        Ok(connection)
    }

    /// Who holds the lock is about to connect anew.
    fn discard(&self) {
        if let Ok(mut open) = self.0.get_or_default().try_lock() {
            *open = None;
        }
    }
}

impl<C: Send> Default for PerThread<C> {
    fn default() -> Self {
        Self(ThreadLocal::new())
    }
}

/// The connection is broken, hangs, or leads to a server that is the master no more.
fn is_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
        || error.code() == Some("READONLY")
}

fn log_in(client: SentinelClientBuilder, login: &redis::ConnectionInfo) -> SentinelClientBuilder {
    let settings = login.redis_settings();
    let client = match settings.username() {
        Some(username) => client.set_client_to_redis_username(username),
        None => client,
    };
    match settings.password() {
        Some(password) => client.set_client_to_redis_password(password),
        None => client,
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server { .. } => "Server",
            Self::Cluster { .. } => "Cluster",
            Self::Sentinel { .. } => "Sentinel",
        })
    }
}
