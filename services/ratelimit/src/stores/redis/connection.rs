//! Connections: one for each server thread, driven by that thread's runtime.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use thread_local::ThreadLocal;
use tokio::sync::Mutex;

use super::address::{RedisAddress, tcp_settings};

/// Connections that are made when they are needed, one attempt at a time for each thread. What fails is tried anew by the
/// calls that find it so.
pub(super) enum Connections {
    Server {
        client: Client,
        options: ConnectionManagerConfig,
        by_thread: ThreadLocal<ConnectionManager>,
    },
    Cluster {
        client: ClusterClient,
        by_thread: ThreadLocal<Mutex<Option<ClusterConnection>>>,
    },
    Sentinel {
        client: Mutex<SentinelClient>,
        timeout: Duration,
        by_thread: ThreadLocal<Mutex<Option<MultiplexedConnection>>>,
    },
}

impl Connections {
    /// Connects within that time, and waits for an answer for that long.
    pub fn new(address: RedisAddress, timeout: Duration) -> RedisResult<Self> {
        match address {
            RedisAddress::Server(info) => Ok(Self::Server {
                client: Client::open(info)?,
                options: ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(timeout))
                    .set_response_timeout(Some(timeout))
                    // Without retries a call learns at once that Redis is away, and the next call is the retry.
                    .set_number_of_retries(0),
                by_thread: ThreadLocal::new(),
            }),
            RedisAddress::Cluster(nodes) => Ok(Self::Cluster {
                client: ClusterClient::builder(nodes)
                    .connection_timeout(timeout)
                    .response_timeout(timeout)
                    .tcp_settings(tcp_settings())
                    .build()?,
                by_thread: ThreadLocal::new(),
            }),
            RedisAddress::Sentinel { sentinels, master, login } => {
                let client = SentinelClientBuilder::new(sentinels, &master, SentinelServerType::Master)?
                    .set_client_to_redis_tcp_settings(tcp_settings())
                    .set_client_to_sentinel_tcp_settings(tcp_settings())
                    .set_client_to_redis_db(login.redis_settings().db());
                let client = log_in(client, &login).build()?;
                Ok(Self::Sentinel { client: Mutex::new(client), timeout, by_thread: ThreadLocal::new() })
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
            Self::Server { client, options, by_thread } => {
                let new = || ConnectionManager::new_lazy_with_config(client.clone(), options.clone());
                let mut connection = by_thread.get_or_try(new)?.clone();
                command.query_async(&mut connection).await
            }
            Self::Cluster { client, by_thread } => {
                let slot = by_thread.get_or_default();
                let mut connection = connected(slot, client.get_async_connection()).await?;
                command.query_async(&mut connection).await
            }
            Self::Sentinel { client, timeout, by_thread } => {
                let slot = by_thread.get_or_default();
                let mut connection = connected(slot, to_master(client, *timeout)).await?;
                let answer = command.query_async(&mut connection).await;
                if answer.as_ref().is_err_and(has_lost_master) {
                    *slot.lock().await = None;
                }
                answer
            }
        }
    }
}

async fn connected<C: Clone>(
    slot: &Mutex<Option<C>>,
    connect: impl Future<Output = RedisResult<C>>,
) -> RedisResult<C> {
    let mut slot = slot.lock().await;
    if let Some(connection) = &*slot {
        return Ok(connection.clone());
    }
    let connection = connect.await?;
    *slot = Some(connection.clone());
    Ok(connection)
}

async fn to_master(client: &Mutex<SentinelClient>, timeout: Duration) -> RedisResult<MultiplexedConnection> {
    let options = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    client.lock().await.get_async_connection_with_config(&options).await
}

/// The connection is broken, hangs, or leads to a server that is the master no more.
fn has_lost_master(error: &RedisError) -> bool {
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
