//! A client's connection: how long it may say nothing, and how it is closed.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep},
};

use crate::config::ServerConfig;

/// What a client says first that speaks HTTP/2. One that says anything else speaks HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest that a closed connection waits for its client to close it too, and the most that it reads meanwhile.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The kernel takes no more seconds.
const KEEPALIVE_SECONDS: (u64, u64) = (1, 32_767);

/// Lets the kernel give up clients that vanished, or that stopped reading, where HTTP/2's pings don't: what has been accepted
/// inherits the listener's options.
pub(crate) fn give_up_silent_peers(listener: &TcpListener, config: &ServerConfig) -> io::Result<()> {
    let (min, max) = KEEPALIVE_SECONDS;
    let seconds = |duration: Duration| Duration::from_secs(duration.as_secs().clamp(min, max));
    let keepalive = TcpKeepalive::new()
        .with_time(seconds(config.keepalive_interval))
        .with_interval(seconds(config.keepalive_timeout));
    let socket = SockRef::from(listener);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(config.keepalive_interval + config.keepalive_timeout))?;
    Ok(())
}

/// A connection that has a limited time to say which HTTP it speaks, and that is closed without a reset.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    opening: Option<Opening>,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Opening {
    until: Pin<Box<Sleep>>,
    /// What is missing of [`PREFACE`].
    missing: &'static [u8],
}

#[derive(Debug)]
struct Closing {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Socket {
    /// `opening` is how long the client may take to say which HTTP it speaks.
    pub(crate) fn new(stream: TcpStream, opening: Duration) -> Self {
        let opening = Opening { until: Box::pin(sleep(opening)), missing: PREFACE };
        Self { stream, opening: Some(opening), closing: None }
    }
}

impl Opening {
    /// Whether it is still open what the client speaks.
    fn goes_on(&mut self, said: &[u8]) -> bool {
        self.missing = self.missing.strip_prefix(said).unwrap_or_default();
        !self.missing.is_empty()
    }
}

impl Closing {
    fn new() -> Self {
        Self { until: Box::pin(sleep(LINGER)), bytes_left: LINGER_BYTES_MAX }
    }

    /// Throws away what the client still sends, until it closes. Bytes that nobody has read would turn the close into a reset,
    /// and that may take the last answers from a client that has not read them yet.
    fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let mut thrown_away = [0; 4096];
        while self.bytes_left > 0 {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.bytes_left = self.bytes_left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => return self.until.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, opening, .. } = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(stream).poll_read(cx, buffer) {
            opening.take_if(|opening| !opening.goes_on(&buffer.filled()[before..]));
            return Poll::Ready(read);
        }
        let Some(opening) = opening else { return Poll::Pending };
        ready!(opening.until.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client said too little")))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, closing, .. } = &mut *self;
        if closing.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        closing.get_or_insert_with(Closing::new).poll(stream, cx).map(Ok)
    }
}
