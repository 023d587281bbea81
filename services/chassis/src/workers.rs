//! The threads that serve connections: each has a runtime of its own, and a connection stays with one thread, so
//! that the answers of its concurrent calls go out in few writes.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    thread,
};

use axum::body::{Body, Bytes};
use futures_util::future::join_all;
use http::{Request, Response};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Duration, Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{config::ServerConfig, connections::Connections};

/// Connections dealt to a thread that it has not taken yet.
const BACKLOG: usize = 64;

/// Most connections that are still taken from the kernel's queue when the server stops.
const QUEUED_MAX: usize = 1024;

/// Wait after an accept that failed: mostly the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A thread cuts its calls off by itself; one that does not end by then is stuck.
const STUCK_AFTER: Duration = Duration::from_millis(100);

/// A connection on its way to its thread.
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Threads that serve one service.
pub(crate) struct Workers {
    threads: Vec<Worker>,
    /// For further connections.
    room: Arc<Semaphore>,
    /// When the threads have to be done.
    end: Arc<OnceLock<Instant>>,
}

struct Worker {
    queue: mpsc::Sender<Accepted>,
    thread: thread::JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

/// What answers a request: never fails, and its answers' bodies can be sent.
pub(crate) trait Server<B>:
    Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S, B> Server<B> for S where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

impl Workers {
    pub(crate) fn start<B>(
        name: &str,
        threads: usize,
        config: &ServerConfig,
        server: &impl Server<B>,
    ) -> io::Result<Self>
    where
        B: http_body::Body<Data = Bytes, Error = axum::Error> + Send + 'static,
    {
        let room = Arc::new(Semaphore::new(config.max_connections));
        let end = Arc::<OnceLock<Instant>>::default();
        let start = |index| {
            let connections = Connections::new(config, server.clone());
            Worker::start(format!("{name}-{index}"), connections, end.clone())
        };
        let threads = (0..threads).map(start).collect::<io::Result<_>>()?;
        Ok(Self { threads, room, end })
    }

    /// Accepts connections and deals them to the threads in turn. Ends only when a thread has died; dropping it loses no
    /// connection.
    pub(crate) async fn deal(&self, listener: &TcpListener) -> io::Result<()> {
        for worker in self.threads.iter().cycle() {
            let queue = worker.queue.reserve().await.map_err(|_| dead())?;
            queue.send(accept(listener, &self.room).await?);
        }
        Ok(())
    }

    /// Deals what the kernel has accepted by now, and closes the listener, which would reset them.
    pub(crate) fn deal_last(&self, listener: TcpListener) {
        // Tokio would first have to hear that there are any.
        let Ok(listener) = listener.into_std() else { return };
        for worker in self.threads.iter().cycle().take(QUEUED_MAX) {
            let (Ok(permit), Ok(queue)) = (self.room.clone().try_acquire_owned(), worker.queue.try_reserve())
            else {
                break;
            };
            let Ok((stream, peer)) = listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok() {
                queue.send(Accepted { stream, peer, permit });
            }
        }
    }

    /// Serves until stopped, then lets requests finish for that long.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken, drain: Duration) {
        if let Some(Err(error)) = stop.run_until_cancelled(self.deal(&listener)).await {
            tracing::error!(%error, "a listener died");
        }
        drop(listener);
        self.drain(Instant::now() + drain).await;
    }

    /// Lets calls finish until the deadline, then cuts what is left.
    pub(crate) async fn drain(self, deadline: Instant) {
        // Never set before: this takes the last of it.
        let _ = self.end.set(deadline);
        let ends = self.threads.into_iter().map(Worker::end);
        match timeout_at(deadline + STUCK_AFTER, join_all(ends)).await {
            Ok(ends) if ends.iter().all(Result::is_ok) => {}
            Ok(_) => tracing::error!("a server thread panicked"),
            Err(_) => tracing::error!("a server thread is stuck"),
        }
    }
}

impl Worker {
    fn start<S, B>(name: String, connections: Connections<S>, end: Arc<OnceLock<Instant>>) -> io::Result<Self>
    where
        S: Server<B>,
        B: http_body::Body<Data = Bytes, Error = axum::Error> + Send + 'static,
    {
        let (queue, accepted) = mpsc::channel(BACKLOG);
        let (running, ended) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(connections.serve(accepted, &end));
            // What blocks may do so for ever.
            runtime.shutdown_background();
            drop(running);
        };
        Ok(Self { queue, thread: thread::Builder::new().name(name).spawn(run)?, ended })
    }

    /// Lets the thread finish; fails if it panicked.
    async fn end(self) -> thread::Result<()> {
        drop(self.queue);
        // Nothing is ever sent: it fails once the thread is done.
        let _ = self.ended.await;
        self.thread.join()
    }
}

/// Waits for room, then for a connection.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<Accepted> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => return Ok(Accepted { stream, peer, permit }),
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("a server thread has died")
}
