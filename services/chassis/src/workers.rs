//! The threads that serve connections: each has a runtime of its own, and a connection stays with one thread, so
//! that the answers of its concurrent calls go out in few writes.

use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{call::PeerAddr, config::ServerConfig};

/// Connections dealt to a thread that it has not taken yet.
const BACKLOG: usize = 64;

/// Longest a client may take to send the head of an HTTP/1 request.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head of a request, in bytes.
const HEADERS_BYTES_MAX: u32 = 32 * 1024;

/// Bytes of a request body in flight, on a stream and on a connection: a 1 MiB snippet without a stall.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Wait after an accept that failed: mostly the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

struct Accepted {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// Threads that serve one router.
pub(crate) struct Workers {
    threads: Vec<thread::JoinHandle<()>>,
    queues: Vec<mpsc::Sender<Accepted>>,
    /// For further connections.
    room: Arc<Semaphore>,
}

impl Workers {
    pub(crate) fn start(
        name: &str,
        threads: usize,
        config: &ServerConfig,
        routes: &Router,
    ) -> io::Result<Self> {
        let room = Arc::new(Semaphore::new(config.max_connections));
        let mut workers = Self { threads: Vec::new(), queues: Vec::new(), room };
        for index in 0..threads {
            let (queue, accepted) = mpsc::channel(BACKLOG);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let worker =
                Worker { http: Arc::new(http(config)), routes: routes.clone(), drain: config.drain_timeout };
            let thread = thread::Builder::new().name(format!("{name}-{index}"));
            workers.threads.push(thread.spawn(move || runtime.block_on(worker.run(accepted)))?);
            workers.queues.push(queue);
        }
        Ok(workers)
    }

    /// Accepts connections and deals them to the threads in turn. Ends only when a thread has died.
    pub(crate) async fn deal(&self, listener: TcpListener) -> io::Result<()> {
        for queue in self.queues.iter().cycle() {
            let accepted = accept(&listener, &self.room).await?;
            queue.send(accepted).await.map_err(|_| io::Error::other("a server thread has died"))?;
        }
        Ok(())
    }

    /// Serves until stopped, then lets requests finish for that long.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken, drain: Duration) {
        if let Some(Err(error)) = stop.run_until_cancelled(self.deal(listener)).await {
            tracing::error!(%error, "a listener died");
        }
        self.drain(Instant::now() + drain).await;
    }

    /// Lets calls finish until the deadline, then cuts what is left.
    pub(crate) async fn drain(self, deadline: Instant) {
        drop(self.queues);
        let threads = self.threads;
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
        match tokio::time::timeout_at(deadline, joined).await {
            Ok(Ok(true)) => {}
            Ok(_) => tracing::error!("a server thread panicked"),
            Err(_) => tracing::warn!("calls were cut off at the drain deadline"),
        }
    }
}

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

fn http(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_concurrent_streams)
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    http
}

struct Worker {
    http: Arc<auto::Builder<TokioExecutor>>,
    routes: Router,
    drain: Duration,
}

impl Worker {
    /// Serves what is dealt until the queue closes, then drains.
    async fn run(self, mut accepted: mpsc::Receiver<Accepted>) {
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                next = accepted.recv() => match next {
                    Some(next) => self.serve(next, &graceful, &mut connections),
                    None => break,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        if tokio::time::timeout(self.drain, graceful.shutdown()).await.is_err() {
            tracing::warn!(connections = connections.len(), "connections did not drain in time");
        }
    }

    fn serve(&self, accepted: Accepted, graceful: &GracefulShutdown, connections: &mut JoinSet<()>) {
        let Accepted { stream, peer, permit } = accepted;
        // Answers are written whole; waiting for more only delays them.
        let stream = stream.set_nodelay(true).and_then(|()| TcpStream::from_std(stream));
        let Ok(stream) = stream else { return };
        let routes = self.routes.clone().map_request(move |mut request: http::Request<_>| {
            request.extensions_mut().insert(PeerAddr(peer));
            request
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        let connection = graceful.watch(connection.into_owned());
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, error, "a connection ended badly");
            }
            drop(permit);
        });
    }
}
