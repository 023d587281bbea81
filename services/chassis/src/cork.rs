//! Lets all that a connection writes while it is polled leave in one write.
//!
//! h2 writes and flushes each payload of 256 bytes or more by itself: the end of an answer leaves in a packet of its own, which
//! costs both sides a system call, and wakes the client twice. Here small writes are gathered, flushing does nothing, and
//! what was gathered leaves once the connection has nothing more to do for now.

use std::{
    io::{self, IoSlice},
    iter,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is gathered, in bytes.
const GATHERED_BYTES_MAX: usize = 64 * 1024;
/// What is larger is handed on rather than copied, together with what was gathered.
const COPIED_BYTES_MAX: usize = 8 * 1024;
/// A buffer for more is not kept for the next time.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// The side of a corked socket that its connection reads and writes.
#[derive(Debug)]
pub(crate) struct Corked<S>(Arc<Mutex<Cork<S>>>);

pin_project! {
    /// A connection over a [`Corked`] socket.
    pub(crate) struct Uncorking<C, S> {
        #[pin]
        connection: C,
        cork: Arc<Mutex<Cork<S>>>,
    }
}

#[derive(Debug)]
struct Cork<S> {
    socket: S,
    gathered: BytesMut,
    /// Why it could not be written, until the connection hears of it.
    failure: Option<io::Error>,
}

/// Corks a socket; the connection that `connect` makes over it has to be polled for anything to leave.
pub(crate) fn corked<S, C>(socket: S, connect: impl FnOnce(Corked<S>) -> C) -> Uncorking<C, S> {
    let cork = Arc::new(Mutex::new(Cork { socket, gathered: BytesMut::new(), failure: None }));
    Uncorking { connection: connect(Corked(cork.clone())), cork }
}

impl<C: Future, S: AsyncWrite + Unpin> Future for Uncorking<C, S> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.project();
        let polled = this.connection.poll(cx);
        let mut cork = this.cork.lock();
        if let Poll::Ready(Err(error)) = cork.poll_uncork(cx) {
            cork.failure = Some(error);
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        if bytes > COPIED_BYTES_MAX || self.gathered.len() + bytes > GATHERED_BYTES_MAX {
            return self.poll_write_through(cx, slices);
        }
        for slice in slices {
            self.gathered.extend_from_slice(slice);
        }
        Poll::Ready(Ok(bytes))
    }

    /// Writes all that was gathered, and some of these.
    fn poll_write_through(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        while !self.gathered.is_empty() {
            let all: Vec<_> =
                iter::once(IoSlice::new(&self.gathered)).chain(slices.iter().copied()).collect();
            let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, &all))?;
            let of_gathered = written.min(self.gathered.len());
            self.take_away(of_gathered)?;
            if written > of_gathered {
                return Poll::Ready(Ok(written - of_gathered));
            }
        }
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    /// Writes all that was gathered.
    fn poll_uncork(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        while !self.gathered.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.gathered))?;
            self.take_away(written)?;
        }
        Poll::Ready(Ok(()))
    }

    fn take_away(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.gathered.advance(written);
        if self.gathered.is_empty() && self.gathered.capacity() > KEPT_BYTES_MAX {
            self.gathered = BytesMut::new();
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing, as it is done at the end of each poll.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.lock().failure.take().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut cork = self.0.lock();
        ready!(cork.poll_uncork(cx))?;
        Pin::new(&mut cork.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_written_in_one_poll_leaves_at_its_end() {
        let (mut client, socket) = duplex(1024 * 1024);
        let mut received = [0; 64];
        let connection = corked(socket, async |mut socket| {
            for piece in ["one ", "two ", "three"] {
                socket.write_all(piece.as_bytes()).await.unwrap();
                socket.flush().await.unwrap();
            }
            assert!(client.read(&mut received).now_or_never().is_none(), "nothing has left");
            tokio::task::yield_now().await;
            let read = client.read(&mut received).now_or_never().unwrap().unwrap();
            assert_eq!(&received[..read], b"one two three");
        });
        connection.await;
    }

    #[tokio::test]
    async fn everything_arrives_in_order_through_a_narrow_pipe() {
        let pieces = [1, 100, 9_000, 70, 200_000, 3, 8 * 1024, 8 * 1024 + 1, 60_000, 5];
        let sent: Vec<u8> = (0..=250).cycle().take(pieces.iter().sum()).collect();
        let (mut client, socket) = duplex(1_000);
        let writing = corked(socket, async |mut socket| {
            let mut rest = &sent[..];
            for piece in pieces {
                let (piece, after) = rest.split_at(piece);
                socket.write_all(piece).await.unwrap();
                rest = after;
            }
            socket.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        let (read, ()) = tokio::join!(client.read_to_end(&mut received), writing);
        read.unwrap();
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn a_connection_hears_of_what_could_not_be_written() {
        let (client, socket) = duplex(1_000);
        let connection = corked(socket, async |mut socket| {
            socket.write_all(b"gathered").await.unwrap();
            drop(client);
            tokio::task::yield_now().await;
            assert_eq!(socket.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        });
        connection.await;
    }
}
