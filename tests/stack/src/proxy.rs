//! A TCP proxy that can be cut, restored and slowed, to stand in for a bad network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ports::Port;

const CHUNK_BYTES: usize = 16 * 1024;

/// Forwards a port of its own to a server; ends when dropped. Lives on the runtime that started it.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    upstream: SocketAddr,
    delay_ms: Arc<AtomicU64>,
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
        let proxy =
            Self { port: Port::free()?, upstream, delay_ms: Arc::default(), forwarding: Mutex::new(None) };
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

    /// Accepts connections again.
    pub async fn restore(&self) -> anyhow::Result<()> {
        let mut forwarding = self.forwarding.lock().await;
        if forwarding.is_none() {
            let listener = TcpListener::bind(self.addr()).await?;
            let (stop, stopped) = oneshot::channel();
            let mut accepting = JoinSet::new();
            accepting.spawn(accept(listener, self.upstream, Arc::clone(&self.delay_ms), stopped));
            *forwarding = Some(Forwarding { stop, accepting });
        }
        Ok(())
    }

    /// Holds what clients send for this long, to a millisecond, before it goes on to the server; answers
    /// are not held, so a round trip takes this much longer. Applies to open connections too.
    pub fn delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(forward(client, upstream, Arc::clone(&delay_ms)));
            },
            Some(_) = connections.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn forward(client: TcpStream, upstream: SocketAddr, delay_ms: Arc<AtomicU64>) {
    // A server that can't be reached looks to the client like a connection that closes at once.
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let undelayed = AtomicU64::new(0);
    tokio::join!(copy(client_read, server_write, &delay_ms), copy(server_read, client_write, &undelayed));
}

/// Copies until the end of the stream, and passes that on.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay_ms: &AtomicU64) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed))).await;
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
