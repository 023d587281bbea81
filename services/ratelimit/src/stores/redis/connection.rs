//! Connections: one for each server thread, driven by that thread's runtime.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisResult, aio::MultiplexedConnection,
};
use tokio_util::task::TaskTracker;

use super::{
    address::RedisAddress,
    nodes::Nodes,
    sentinel::Sentinels,
    slot::{Connecting, PerThread},
};

/// Connections that are made when they are needed, one attempt at a time for each thread.
pub(super) enum Connections {
    Server(Box<ToServer>),
    Cluster(Box<Nodes>),
}

/// Connections to one server. Those that are lost, or on which an answer is late, are thrown away, and the next call makes a
/// new one: whatever was lost on the way, a connection may never speak again.
pub(super) struct ToServer {
    way: Way,
    open: PerThread<MultiplexedConnection>,
}

/// How the server is found.
#[derive(Clone)]
enum Way {
    Address { client: Client, options: AsyncConnectionConfig },
    Sentinels(Sentinels),
}

impl Connections {
    /// Connects when need be, as one of the tasks, and waits for an answer for that long.
    pub fn new(address: RedisAddress, timeout: Duration, tasks: TaskTracker) -> RedisResult<Self> {
        let connecting = Connecting::new(tasks, timeout);
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let way = match address {
            RedisAddress::Cluster(nodes) => {
                return Ok(Self::Cluster(Box::new(Nodes::new(&nodes, timeout, connecting)?)));
            }
            RedisAddress::Server(info) => Way::Address { client: Client::open(info)?, options },
            RedisAddress::Sentinel { sentinels: addresses, master, login } => {
                Way::Sentinels(Sentinels { addresses, master, login, options })
            }
        };
        Ok(Self::Server(Box::new(ToServer { way, open: PerThread::new(connecting) })))
    }

    /// Whether counters are spread over nodes, so that a script can work on those of one subject only.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Runs a command on this thread's connection.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Server(server) => server.query(command).await,
            Self::Cluster(nodes) => nodes.query(command, None).await,
        }
    }

    /// Runs a command that has no keys where those of another are.
    pub async fn query_beside<T: FromRedisValue>(&self, other: &Cmd, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Server(server) => server.query(command).await,
            Self::Cluster(nodes) => nodes.query(command, Some(other)).await,
        }
    }

    /// A call on this thread's connection was given up. A cluster's nodes see that themselves.
    pub fn discard(&self) {
        if let Self::Server(server) = self {
            server.open.discard_late();
        }
    }
}

impl ToServer {
    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut connection = self.open.connected(|| self.way.clone().connect()).await?;
        let answer = command.query_async(&mut connection).await;
        if answer.as_ref().is_err_and(is_lost) {
            self.open.discard();
        }
        answer
    }
}

impl Way {
    async fn connect(self) -> RedisResult<MultiplexedConnection> {
        match self {
            Self::Address { client, options } => {
                client.get_multiplexed_async_connection_with_config(&options).await
            }
            Self::Sentinels(sentinels) => sentinels.connect().await,
        }
    }
}

/// The connection is broken, hangs, or leads to a server that is the master no more.
pub(super) fn is_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_unrecoverable_error()
        || error.code() == Some("READONLY")
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server(server) => match server.way {
                Way::Address { .. } => "Server",
                Way::Sentinels(_) => "Sentinel",
            },
            Self::Cluster(_) => "Cluster",
        })
    }
}
