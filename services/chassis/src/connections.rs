//! The connections of one thread.

use std::{io, sync::OnceLock, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::FutureExt as _;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tower::ServiceExt as _;

use crate::{
    call::PeerAddr,
    config::ServerConfig,
    cork,
    overdue::{self, Executor},
    socket::Socket,
    workers::{Accepted, Server},
};

/// Largest head of a request, in bytes, and what HTTP/1 keeps of a body on its way.
const HEADERS_BYTES_MAX: u32 = 32 * 1024;
const HTTP1_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Calls of a connection of HTTP/2 that were taken back before anybody has looked at them, and resets that its mistakes have
/// caused: who makes more of them is cut off.
const TAKEN_BACK_MAX: usize = 20;
const MISTAKES_MAX: usize = 1024;

/// Bytes of a request body in flight, on a stream and on a connection: a 1 MiB snippet without a stall.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Serves connections, all on one thread.
pub(crate) struct Connections<S> {
    http: auto::Builder<Executor>,
    server: S,
    handshake_timeout: Duration,
    graceful: GracefulShutdown,
    open: JoinSet<()>,
}

impl<S> Connections<S> {
    pub(crate) fn new(config: &ServerConfig, server: S) -> Self {
        Self {
            http: http(config),
            server,
            handshake_timeout: config.handshake_timeout,
            graceful: GracefulShutdown::new(),
            open: JoinSet::new(),
        }
    }

    /// Serves what is dealt until the queue closes, then lets the calls finish until `end`.
    pub(crate) async fn serve<B>(mut self, mut dealt: mpsc::Receiver<Accepted>, end: &OnceLock<Instant>)
    where
        S: Server<B>,
        B: http_body::Body<Data = Bytes, Error = axum::Error> + Send + 'static,
    {
        loop {
            tokio::select! {
                next = dealt.recv() => match next {
                    Some(next) => self.open(next).unwrap_or_else(|error| {
                        tracing::warn!(%error, "a connection was not taken over");
                    }),
                    None => break,
                },
                Some(_) = self.open.join_next() => {}
            }
        }
        let end = end.get().copied().unwrap_or_else(Instant::now);
        if timeout_at(end, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(connections = self.open.len(), "calls were cut off at the drain deadline");
        }
    }

    fn open<B>(&mut self, accepted: Accepted) -> io::Result<()>
    where
        S: Server<B>,
        B: http_body::Body<Data = Bytes, Error = axum::Error> + Send + 'static,
    {
        let Accepted { stream, peer, permit } = accepted;
        // Answers are written whole; waiting for more only delays them.
        stream.set_nodelay(true)?;
        let socket = Socket::new(TcpStream::from_std(stream)?, self.handshake_timeout);
        let server = self.server.clone().map_request(move |request: http::Request<_>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(PeerAddr(peer));
            request
        });
        let connection = cork::corked(socket, |socket| {
            let server = TowerToHyperService::new(server);
            self.graceful.watch(self.http.serve_connection(TokioIo::new(socket), server).into_owned())
        });
        let connection = overdue::watch(connection);
        self.open.spawn(connection.map(move |end| {
            if let Some(Err(error)) = end {
                tracing::debug!(%peer, error, "a connection ended badly");
            }
            drop(permit);
        }));
        Ok(())
    }
}

fn http(config: &ServerConfig) -> auto::Builder<Executor> {
    let mut http = auto::Builder::new(Executor);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.handshake_timeout)
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_concurrent_streams)
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_pending_accept_reset_streams(TAKEN_BACK_MAX)
        .max_local_error_reset_streams(MISTAKES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    http
}
