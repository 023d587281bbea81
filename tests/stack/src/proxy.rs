//! A TCP proxy that can be cut, restored, slowed and silenced, to stand in for a bad network.

mod way;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;

use self::way::{Way, forward};
use crate::ports::Port;

/// Forwards a port of its own to a server; ends when dropped. Lives on the runtime that started it.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    upstream: SocketAddr,
    way: Arc<Way>,
    /// None while cut.
    forwarding: Mutex<Option<Forwarding>>,
}

/// The accept loop, which owns the connections.
#[derive(Debug)]
struct Forwarding {
    stop: oneshot::Sender<()>,
    accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts forwarding to `upstream`.
    pub async fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let proxy = Self { port: Port::free()?, upstream, way: Arc::default(), forwarding: Mutex::new(None) };
        proxy.restore().await?;
        Ok(proxy)
    }

    /// Starts forwarding to the server of a URL; gives the proxy, and the URL that leads through it.
    pub async fn before_url(url: &str) -> anyhow::Result<(Self, String)> {
        let (scheme, rest) = url.split_once("://").context("no scheme in the URL")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let proxy = Self::start(host.parse()?).await?;
        let at = if user.is_empty() { "" } else { "@" };
        let through = format!("{scheme}://{user}{at}{}/{path}", proxy.addr());
        Ok((proxy, through))
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Closes all connections and refuses new ones; returns when that is so.
    pub async fn cut(&self) {
        if let Some(Forwarding { stop, mut accepting }) = self.forwarding.lock().await.take() {
            drop(stop);
            while accepting.join_next().await.is_some() {}
        }
    }

    /// From now on connections are accepted, and whatever is sent on them or on those that are open, either way, is lost.
    pub fn black_hole(&self) {
        self.way.is_black_hole.store(true, Ordering::Relaxed);
    }

    /// Ends a [`cut`](Self::cut) or a [`black_hole`](Self::black_hole). A connection on which something was lost stays
    /// silent for good, as one does whose peer has vanished.
    pub async fn restore(&self) -> anyhow::Result<()> {
        self.way.is_black_hole.store(false, Ordering::Relaxed);
        let mut forwarding = self.forwarding.lock().await;
        if forwarding.is_none() {
            let listener = TcpListener::bind(self.addr()).await?;
            let (stop, stopped) = oneshot::channel();
            let mut accepting = JoinSet::new();
            accepting.spawn(accept(listener, self.upstream, Arc::clone(&self.way), stopped));
            *forwarding = Some(Forwarding { stop, accepting });
        }
        Ok(())
    }

    /// Holds what clients send for this long, to a millisecond, before it goes on to the server; answers
    /// are not held, so a round trip takes this much longer. Applies to open connections too.
    pub fn delay(&self, delay: Duration) {
        self.way.to_server.set(delay);
    }

    /// Holds what the server sends for this long, to a millisecond, before it goes on to the client: the server has done
    /// what it was asked, and the client does not know. Applies to open connections too.
    pub fn delay_answers(&self, delay: Duration) {
        self.way.to_client.set(delay);
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    way: Arc<Way>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(forward(client, upstream, Arc::clone(&way)));
            },
            Some(_) = connections.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}
