//! Requests of any type, and what their senders are told.

use e2e::{Client, assert_explained};
use prost::Message;
use prost::bytes::{Buf, BufMut};
use rpc::snippets::v1::Tier;
use stack::Product;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// Most bytes of a message and its details in the trailers, of which clients built on gRPC's C core take 8 KiB.
const STATUS_BYTES_MAX: usize = 7 * 1024;

/// A request that is wrong, encoded.
pub struct Bad {
    pub path: &'static str,
    message: Vec<u8>,
}

/// A request to that method.
pub fn bad(path: &'static str, message: &impl Message) -> Bad {
    Bad { path, message: message.encode_to_vec() }
}

/// Who sends them: somebody who may, and is not limited too soon.
pub struct Senders {
    pub product: Product,
    owner: Client,
    admin: Client,
    limiter: Client,
}

impl Senders {
    pub async fn start() -> Self {
        let product = e2e::product(&e2e::backends().await).replicas(1).workers(0).start().await.unwrap();
        let anonymous = Client::to(&product.snippets[0]).await.unwrap();
        let owner = anonymous.as_new(Tier::Premium).await.unwrap();
        let limiter = Client::to(&product.ratelimit).await.unwrap();
        Self { admin: anonymous.as_admin(), owner, limiter, product }
    }

    /// Each field that is wrong, and what would be right, in the order told. Something else, if it is not told so.
    pub async fn send(&self, bad: &Bad) -> Vec<String> {
        let sender = match bad.path.split('/').nth(1).unwrap() {
            "snippets.v1.SnippetService" => &self.owner,
            "snippets.v1.AccountService" => &self.admin,
            _ => &self.limiter,
        };
        let mut raw = sender.raw().await.unwrap();
        let path = bad.path.parse().unwrap();
        match raw.unary(Request::new(bad.message.clone()), path, Encoded).await {
            Ok(_) => vec!["it passed".to_owned()],
            Err(status) => told(&status),
        }
    }
}

fn told(status: &Status) -> Vec<String> {
    assert_explained(status);
    let bytes = status.message().len() + status.details().len().div_ceil(3) * 4;
    assert!(bytes <= STATUS_BYTES_MAX, "{bytes} bytes of an error");
    if status.code() != Code::InvalidArgument {
        return vec![format!("{status:?}")];
    }
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert!(violations.iter().take(5).all(|it| status.message().contains(&it.field)), "{status:?}");
    violations.into_iter().map(|it| format!("{}: {}", it.field, it.description)).collect()
}

/// Messages that are encoded already; answers are not read.
struct Encoded;

impl Codec for Encoded {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}
