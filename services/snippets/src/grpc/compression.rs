//! Messages that are sent compressed.

use axum::body::{Body, Bytes};
use bytes::Buf as _;
use futures_util::stream;
use http::{HeaderMap, HeaderValue};
use tonic::{
    Status, Streaming,
    codec::{CompressionEncoding, DecodeBuf, Decoder},
};

/// Tells how the message is compressed.
const ENCODING: &str = "grpc-encoding";

/// How the message is compressed, if it is said to be, and in a way that is known here.
pub(super) fn encoding(headers: &HeaderMap) -> Option<CompressionEncoding> {
    match headers.get(ENCODING).map(HeaderValue::as_bytes) {
        Some(b"gzip") => Some(CompressionEncoding::Gzip),
        Some(b"zstd") => Some(CompressionEncoding::Zstd),
        _ => None,
    }
}

/// The message of a body, decompressed.
///
/// # Errors
/// When it is none, or has more than `bytes_max` bytes, of which no more are made.
pub(super) async fn unpack(
    body: Body,
    encoding: CompressionEncoding,
    bytes_max: usize,
) -> Result<Bytes, Status> {
    let mut messages = Streaming::new_request(AsItIs, body, Some(encoding), Some(bytes_max));
    messages.message().await?.ok_or_else(|| Status::invalid_argument("there is no message"))
}

/// A body of that message, and headers that say that it is not compressed.
pub(super) fn packed_out(message: Bytes, headers: &mut HeaderMap) -> Body {
    headers.remove(ENCODING);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let head = Bytes::copy_from_slice(&[0, length[0], length[1], length[2], length[3]]);
    Body::from_stream(stream::iter([head, message].map(Ok::<_, axum::Error>)))
}

/// Leaves a message encoded.
struct AsItIs;

impl Decoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
