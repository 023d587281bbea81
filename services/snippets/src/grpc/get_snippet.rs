//! GetSnippet, which is called more than all else together: its own route spares what the others share, and its answer is written
//! from the texts in memory straight into what is sent.

use std::sync::Arc;

use axum::{body::Body, extract::Request, response::Response};
use bytes::BufMut;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use rpc::snippets::v1 as pb;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, CompressionEncoding, EnabledCompressionEncodings, EncodeBuf, Encoder},
    server::Grpc,
};
use tonic_prost::{ProstCodec, ProstDecoder};
use tower::service_fn;

use super::{Callers, REQUEST_BYTES_MAX, limit_misses::Misses, snippets::Snippets};
use crate::domain::Body as Text;

/// The path of the method.
pub(super) const PATH: &str = "/snippets.v1.SnippetService/GetSnippet";

/// `GetSnippetResponse.snippet` and `Snippet.body` in the contract.
const SNIPPET: u32 = 1;
const BODY: u32 = 4;
/// Those fields' keys, the snippet's length and `not_modified`: what an answer takes beside its encoded snippet.
const BESIDE_SNIPPET_BYTES_MAX: usize = 8;

/// What a buffer holds before it has to grow, in bytes. tonic's codec takes 8 KiB for each request and each answer, and the
/// allocator longer for that than for what is small.
const BUFFER_BYTES: usize = 256;

/// What a reader is told.
#[derive(Debug)]
pub(super) struct Answer {
    /// Without a body.
    pub(super) snippet: pb::Snippet,
    /// Shared with all who read it now.
    pub(super) body: Option<Text>,
    pub(super) not_modified: bool,
}

/// Serves the method, and nothing else.
#[derive(Clone)]
pub(super) struct GetSnippet(Arc<Parts>);

struct Parts {
    api: Arc<Snippets>,
    callers: Arc<Callers>,
    misses: Arc<Misses>,
}

impl GetSnippet {
    pub(super) fn new(api: Arc<Snippets>, callers: Arc<Callers>, misses: Arc<Misses>) -> Self {
        Self(Arc::new(Parts { api, callers, misses }))
    }

    pub(super) async fn answer(self, request: Request) -> Response {
        let Parts { callers, misses, .. } = &*self.0;
        let response = match callers.admit(request).await {
            Ok(request) => misses.limited(request, |request| self.0.get(request)).await,
            Err(error) => Status::from(error).into_http(),
        };
        response.map(Body::new)
    }
}

impl Parts {
    async fn get(&self, request: Request) -> Response<tonic::body::Body> {
        let get = service_fn(|request| async { Ok(tonic::Response::new(self.api.get(request).await?)) });
        let mut encodings = EnabledCompressionEncodings::default();
        encodings.enable(CompressionEncoding::Gzip);
        encodings.enable(CompressionEncoding::Zstd);
        Grpc::new(AnswerCodec)
            .apply_compression_config(encodings, EnabledCompressionEncodings::default())
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .unary(get, request)
            .await
    }
}

impl Answer {
    /// The snippet as a message of its own.
    pub(super) fn into_snippet(self) -> pb::Snippet {
        pb::Snippet { body: self.body_text().to_owned(), ..self.snippet }
    }

    fn encode(&self, buffer: &mut impl BufMut) {
        let body = self.body_text();
        encode_key(SNIPPET, WireType::LengthDelimited, buffer);
        encode_varint(self.snippet_bytes() as u64, buffer);
        self.snippet.encode_raw(buffer);
        if !body.is_empty() {
            encode_key(BODY, WireType::LengthDelimited, buffer);
            encode_varint(body.len() as u64, buffer);
            buffer.put_slice(body.as_bytes());
        }
        pb::GetSnippetResponse { snippet: None, not_modified: self.not_modified }.encode_raw(buffer);
    }

    /// The length of the encoded snippet with its body.
    fn snippet_bytes(&self) -> usize {
        let body = self.body_text().len();
        let field = if body == 0 { 0 } else { key_len(BODY) + encoded_len_varint(body as u64) + body };
        self.snippet.encoded_len() + field
    }

    fn body_text(&self) -> &str {
        self.body.as_ref().map(Text::as_str).unwrap_or_default()
    }
}

struct AnswerCodec;

struct AnswerEncoder;

impl Codec for AnswerCodec {
    type Encode = Answer;
    type Decode = pb::GetSnippetRequest;
    type Encoder = AnswerEncoder;
    type Decoder = ProstDecoder<pb::GetSnippetRequest>;

    fn encoder(&mut self) -> AnswerEncoder {
        AnswerEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<pb::GetSnippetResponse, _>::raw_decoder(buffers())
    }
}

impl Encoder for AnswerEncoder {
    type Item = Answer;
    type Error = Status;

    fn encode(&mut self, answer: Answer, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(BESIDE_SNIPPET_BYTES_MAX + answer.snippet_bytes());
        answer.encode(buffer);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// A call has one message either way, so that none waits to be sent with others.
fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str, not_modified: bool) -> Answer {
        Answer {
            snippet: pb::Snippet { id: "0123456789a".into(), view_count: 300, ..pb::Snippet::default() },
            body: (!body.is_empty()).then(|| Text::parse(body).unwrap()),
            not_modified,
        }
    }

    #[test]
    fn is_encoded_as_the_contract_has_it() {
        for body in ["", "a", &"b".repeat(127), &"c".repeat(128), &"d".repeat(1024 * 1024)] {
            for not_modified in [false, true] {
                let mut encoded = Vec::new();
                answer(body, not_modified).encode(&mut encoded);
                let snippet = answer(body, not_modified).into_snippet();
                assert_eq!(snippet.body, body);
                let expected = pb::GetSnippetResponse { snippet: Some(snippet), not_modified };
                assert_eq!(pb::GetSnippetResponse::decode(&*encoded).unwrap(), expected);
                let beside = encoded.len() - answer(body, not_modified).snippet_bytes();
                assert!(beside <= BESIDE_SNIPPET_BYTES_MAX, "{beside}");
            }
        }
    }
}
