//! What a call says of its message before it sends it: how long it is.

use axum::body::{Body, Bytes, to_bytes};
use futures_util::{StreamExt as _, stream};
use tonic::Status;

/// A flag that tells whether the message is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// The head of a message, as in the gRPC over HTTP/2 protocol description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageHead {
    flag: u8,
    /// How long it is as it is sent.
    pub bytes: u32,
}

impl MessageHead {
    /// Waits for the head of the message in a body; gives it with the body as it was. `None` of one that ends before.
    pub async fn read(body: Body) -> (Option<Self>, Body) {
        let mut rest = body.into_data_stream();
        let (mut head, mut pieces) = (Vec::with_capacity(HEAD_BYTES), Vec::new());
        while head.len() < HEAD_BYTES {
            let Some(piece) = rest.next().await else { break };
            let data = piece.as_ref().map_or(&[][..], Bytes::as_ref);
            head.extend(data.iter().take(HEAD_BYTES - head.len()));
            let is_broken = piece.is_err();
            if is_broken || !data.is_empty() {
                pieces.push(piece);
            }
            if is_broken {
                break;
            }
        }
        (Self::parse(&head), Body::from_stream(stream::iter(pieces).chain(rest)))
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let (flag, bytes) = head.split_first()?;
        Some(Self { flag: *flag, bytes: u32::from_be_bytes(bytes.try_into().ok()?) })
    }

    /// The message of a body, which has this head, as it is sent.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when it is not as long as it says.
    pub async fn message(self, body: Body) -> Result<Bytes, Status> {
        let bytes = HEAD_BYTES + self.bytes as usize;
        let whole = to_bytes(body, bytes).await.ok().filter(|whole| whole.len() == bytes);
        let whole = whole.ok_or_else(|| Status::invalid_argument("the message is not as long as it says"))?;
        Ok(whole.slice(HEAD_BYTES..))
    }

    /// Whether the message is as long as it is sent.
    pub fn is_plain(self) -> bool {
        self.flag == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(pieces: &'static [&'static [u8]]) -> (Option<MessageHead>, Bytes) {
        let pieces = pieces.iter().map(|piece| Ok::<_, axum::Error>(Bytes::from_static(piece)));
        let (head, body) = MessageHead::read(Body::from_stream(stream::iter(pieces))).await;
        (head, to_bytes(body, usize::MAX).await.unwrap())
    }

    #[tokio::test]
    async fn reads_the_head_and_takes_nothing_of_the_body() {
        let whole: &[u8] = b"\0\0\0\x01\x02message";
        let head = Some(MessageHead { flag: 0, bytes: 258 });
        assert_eq!(read(&[b"\0\0\0\x01\x02message"]).await, (head, whole.into()));
        assert_eq!(read(&[b"\0", b"", b"\0\0\x01", b"\x02mess", b"age"]).await, (head, whole.into()));
        assert_eq!(read(&[b"\0\0\0\x01"]).await, (None, b"\0\0\0\x01"[..].into()));
        assert_eq!(read(&[]).await, (None, Bytes::new()));
        assert!(!read(&[b"\x01\0\0\0\0"]).await.0.unwrap().is_plain());
    }

    #[tokio::test]
    async fn a_message_is_as_long_as_it_says() {
        let head = MessageHead { flag: 0, bytes: 3 };
        assert_eq!(head.message(Body::from("\0\0\0\0\x03abc")).await.unwrap(), "abc");
        for wrong in ["\0\0\0\0\x03ab", "\0\0\0\0\x03abc\0\0\0\0\0"] {
            assert_eq!(
                head.message(Body::from(wrong)).await.unwrap_err().code(),
                tonic::Code::InvalidArgument
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_still_does() {
        let pieces =
            [Ok(Bytes::from_static(b"\0\0")), Err(axum::Error::new(std::io::Error::other("broken")))];
        let (head, body) = MessageHead::read(Body::from_stream(stream::iter(pieces))).await;
        assert_eq!(head, None);
        assert!(to_bytes(body, usize::MAX).await.is_err());
    }
}
