//! What a proxy does to the bytes that go through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

const CHUNK_BYTES: usize = 16 * 1024;

/// Bounds what is on its way in one direction of a connection.
const CHUNKS_HELD_MAX: usize = 256;

/// The state of the way, for all connections on it.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub(super) to_server: Delay,
    pub(super) to_client: Delay,
    pub(super) is_black_hole: AtomicBool,
}

/// How long each byte is on its way.
#[derive(Debug, Default)]
pub(super) struct Delay(AtomicU64);

impl Delay {
    /// To a millisecond.
    pub(super) fn set(&self, delay: Duration) {
        self.0.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Forwards one connection until it ends.
pub(super) async fn forward(client: TcpStream, upstream: SocketAddr, way: Arc<Way>) {
    let connection = Connection { way, is_lost: AtomicBool::new(false) };
    if connection.loses() {
        return swallow(client).await;
    }
    // A server that can't be reached looks to the client like a connection that closes at once.
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::join!(
        connection.carry(client_read, server_write, &connection.way.to_server),
        connection.carry(server_read, client_write, &connection.way.to_client)
    );
}

async fn swallow(mut client: TcpStream) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(1..) = client.read(&mut chunk).await {}
}

/// What was read, none of it at the end of the stream, and when it arrives.
type Sent = (Instant, Vec<u8>);

struct Connection {
    way: Arc<Way>,
    /// Something of it fell into the black hole; the rest would make no sense.
    is_lost: AtomicBool,
}

impl Connection {
    /// Whether what would arrive now is lost.
    fn loses(&self) -> bool {
        if self.way.is_black_hole.load(Ordering::Relaxed) {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        self.is_lost.load(Ordering::Relaxed)
    }

    /// Copies one direction until the end of the stream, and passes that on.
    async fn carry(&self, from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin, delay: &Delay) {
        let (sender, receiver) = mpsc::channel(CHUNKS_HELD_MAX);
        tokio::pin! {
            let departures = self.depart(from, sender, delay);
            let arrivals = self.arrive(receiver, to);
        }
        tokio::select! {
            () = &mut arrivals => {}
            () = &mut departures => arrivals.await,
        }
    }

    async fn depart(&self, mut from: impl AsyncRead + Unpin, sender: mpsc::Sender<Sent>, delay: &Delay) {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let length = from.read(&mut chunk).await.unwrap_or(0);
            chunk.truncate(length);
            // What goes into the black hole is lost, also if it would have come out after its end.
            self.loses();
            if sender.send((Instant::now() + delay.get(), chunk)).await.is_err() || length == 0 {
                return;
            }
        }
    }

    async fn arrive(&self, mut receiver: mpsc::Receiver<Sent>, mut to: impl AsyncWrite + Unpin) {
        while let Some((due, chunk)) = receiver.recv().await {
            sleep_until(due).await;
            let written = match chunk.len() {
                _ if self.loses() => Ok(()),
                0 => to.shutdown().await,
                _ => to.write_all(&chunk).await,
            };
            if written.is_err() {
                return;
            }
        }
    }
}
