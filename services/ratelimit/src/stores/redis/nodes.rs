//! The nodes of a cluster, of which one may fall silent.
//!
//! redis-rs makes a connection anew that a node has closed, but takes a silent one for slow, for good. To start over with
//! all nodes would not do: as long as the node is silent, they could be reached no better than before. So after a call that
//! was given up the node is asked again. If it is silent still, other connections are made, which take the place of those
//! that there are only if the node answers on them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{
    Arg, Cmd, FromRedisValue, RedisResult, Value,
    aio::ConnectionLike as _,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{
        MultipleNodeRoutingInfo, ResponsePolicy, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
    },
};
use thread_local::ThreadLocal;
use tokio::{runtime::Handle, sync::Mutex};

use super::{
    address::tcp_settings,
    connection::is_lost,
    slot::{Connecting, PerThread, Slot},
};

/// While redis-rs finds out which nodes there are it serves none, and waits for those that are silent. At first it does for
/// this part of a call's time only: little enough for the calls that wait meanwhile to be answered in time all the same.
const HASTY_PART: u32 = 4;

/// Least time between two looks at a node.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How nodes are reached: some may be too far away to be reached in haste.
#[derive(Clone)]
struct Clients {
    hasty: ClusterClient,
    patient: ClusterClient,
}

/// Connections to all nodes.
pub(super) struct Nodes {
    clients: Clients,
    open: PerThread<ClusterConnection>,
    /// When this thread has last looked at a node; locked while it does.
    looked: ThreadLocal<Arc<Mutex<Option<Instant>>>>,
    connecting: Connecting,
}

impl Nodes {
    pub fn new(
        nodes: &[redis::ConnectionInfo],
        timeout: Duration,
        connecting: Connecting,
    ) -> RedisResult<Self> {
        let client = |connection_timeout| {
            ClusterClient::builder(nodes.iter().cloned())
                .connection_timeout(connection_timeout)
                .response_timeout(timeout)
                .tcp_settings(tcp_settings())
                .build()
        };
        let clients = Clients { hasty: client(timeout / HASTY_PART)?, patient: client(timeout)? };
        Ok(Self { clients, open: PerThread::new(connecting.clone()), looked: ThreadLocal::new(), connecting })
    }

    /// Runs a command on the node that has its keys, or those of the one it is run beside. Where there are none, one node
    /// that answers will do.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd, beside: Option<&Cmd>) -> RedisResult<T> {
        let mut nodes = self.open.connected(|| self.clients.clone().connect()).await?;
        let key = key_of(beside.unwrap_or(command));
        let mut watch = Watch { nodes: self, key, answered: false };
        let value = match (key, beside) {
            (Some(_), None) => nodes.req_packed_command(command).await,
            (Some(key), Some(_)) => nodes.route_command(command.clone(), to_node_of(key)).await,
            (None, _) => nodes.route_command(command.clone(), to_some_node()).await,
        };
        let value = value.and_then(Value::extract_error);
        watch.answered = !value.as_ref().is_err_and(is_lost);
        Ok(redis::from_redis_value(value?)?)
    }

    /// Looks at the node of a key, unless that is being done or has just been.
    fn suspect(&self, key: &[u8]) {
        let Ok(mut looked) = self.looked.get_or_default().clone().try_lock_owned() else { return };
        // Where the runtime is ending nothing has to be found out.
        let Ok(runtime) = Handle::try_current() else { return };
        if looked.is_some_and(|looked| looked.elapsed() < LOOK_INTERVAL) {
            return;
        }
        let look = Look {
            key: key.to_vec(),
            clients: self.clients.clone(),
            slot: self.open.slot().clone(),
            connecting: self.connecting.clone(),
        };
        let look = async move {
            look.run().await;
            *looked = Some(Instant::now());
        };
        self.connecting.tasks().spawn_on(look, &runtime);
    }
}

impl Clients {
    async fn connect(self) -> RedisResult<ClusterConnection> {
        match self.hasty.get_async_connection().await {
            Ok(nodes) => Ok(nodes),
            Err(_) => self.patient.get_async_connection().await,
        }
    }
}

/// Sees whether a call is answered or given up.
struct Watch<'a> {
    nodes: &'a Nodes,
    key: Option<&'a [u8]>,
    answered: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        match self.key {
            _ if self.answered => {}
            Some(key) => self.nodes.suspect(key),
            // No node has answered.
            None => self.nodes.open.discard_late(),
        }
    }
}

/// A look at the node of a key.
struct Look {
    key: Vec<u8>,
    clients: Clients,
    slot: Slot<ClusterConnection>,
    connecting: Connecting,
}

impl Look {
    async fn run(self) {
        if let Some(open) = self.slot.open().await
            && self.is_answered(open).await
        {
            return;
        }
        for client in [&self.clients.hasty, &self.clients.patient] {
            let attempt = Box::pin(client.get_async_connection());
            let Ok(other) = self.connecting.within_limit(attempt).await else { continue };
            if self.is_answered(other.clone()).await {
                tracing::info!("a node of the cluster is reached by other connections");
                self.slot.replace(other).await;
                return;
            }
        }
    }

    /// Only the node that has a key says something about it, if only that it is not a string.
    async fn is_answered(&self, mut nodes: ClusterConnection) -> bool {
        let get = redis::cmd("GET").arg(&self.key).to_owned();
        let value = nodes.req_packed_command(&get).await.and_then(Value::extract_error);
        value.map_or_else(|error| error.code() == Some("WRONGTYPE"), |_| true)
    }
}

/// A key of a command, as far as the commands are used here.
fn key_of(command: &Cmd) -> Option<&[u8]> {
    let mut arguments = command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        _ => &[],
    });
    match arguments.next()? {
        b"PING" | b"SCRIPT" => None,
        b"EVALSHA" => arguments.nth(2),
        _ => arguments.next(),
    }
}

fn to_node_of(key: &[u8]) -> RoutingInfo {
    RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master)))
}

fn to_some_node() -> RoutingInfo {
    RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::OneSucceeded)))
}
