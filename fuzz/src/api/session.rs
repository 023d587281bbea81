//! What the bytes of an input mean: calls in the name of several callers, made of what was told before.

use std::cell::RefCell;

use arbitrary::{Result, Unstructured};
use prost::{
    Message,
    bytes::{Buf as _, BufMut as _},
};
use rpc::snippets::v1 as pb;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::{
    api::{ADMIN_KEY, Api},
    contract::{Contract, Method},
    errors::is_documented,
    message::{Known, message},
    web,
};

/// Most calls of a script.
const CALLS_MAX: usize = 24;
/// Larger requests about accounts are refused, by tonic.
const BYTES_MAX: usize = 64 * 1024;
/// After so many scripts the database is a new one, so that it stays small.
const SCRIPTS_EACH: usize = 5000;

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

struct State {
    api: Api,
    contract: Contract,
    scripts: usize,
}

/// A run of a script.
pub struct Session<'a> {
    /// What is called.
    pub api: &'a Api,
    /// Ids, etags and tokens.
    pub known: Known,
    contract: &'a Contract,
    keys: Vec<String>,
}

/// Plays the script. Scripts have nothing in common but the database.
pub fn play(script: &[u8]) {
    STATE.with_borrow_mut(|state| {
        drop(state.take_if(|state| state.scripts >= SCRIPTS_EACH));
        let new = || State { api: Api::start(), contract: Contract::read(), scripts: 0 };
        let State { api, contract, scripts } = state.get_or_insert_with(new);
        *scripts += 1;
        let keys = vec![ADMIN_KEY.to_owned(), "snip_unknown".to_owned()];
        let mut session = Session { api, known: Known::new(), contract, keys };
        // It ends where its bytes do.
        let _ = session.go_on(&mut Unstructured::new(script));
    });
}

impl Session<'_> {
    fn go_on(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..CALLS_MAX {
            if input.is_empty() {
                break;
            }
            if input.arbitrary::<u8>()? % 4 == 3 {
                web::call(self, input)?;
            } else {
                let method = input.choose(&self.contract.methods)?;
                self.call(method, input)?;
            }
        }
        Ok(())
    }

    /// Nobody, the admin, somebody who has no key of ours, or the holder of a key that was made before.
    pub fn key(&self, input: &mut Unstructured<'_>) -> Result<Option<&str>> {
        let choice = usize::from(input.arbitrary::<u8>()?) % 8;
        Ok(match choice {
            0 | 1 => None,
            2 if self.keys.len() > 2 => Some(&self.keys[1]),
            3..=5 => self.keys.last().filter(|_| self.keys.len() > 2).or(self.keys.first()),
            _ => self.keys.first(),
        }
        .map(String::as_str))
    }

    fn call(&mut self, method: &Method, input: &mut Unstructured<'_>) -> Result<()> {
        let key = self.key(input)?;
        let body = if input.arbitrary::<u8>()? % 16 == 0 {
            let length = usize::from(input.arbitrary::<u16>()?).min(input.len());
            input.bytes(length)?.to_vec()
        } else {
            message(input, self.contract, &method.input, &self.known)?
        };
        if body.len() > BYTES_MAX || !can_be_decoded(method, &body) {
            return Ok(());
        }
        let mut request = Request::new(body);
        for key in key.into_iter().filter_map(|key| key.parse().ok()) {
            request.metadata_mut().insert("x-api-key", key);
        }
        let path = method.path.parse().expect("a path");
        let mut client = Grpc::new(self.api.routes.clone());
        let answer = self.api.runtime.block_on(async {
            client.ready().await.expect("routes are always ready");
            client.unary(request, path, Bytes).await
        });
        match answer {
            Ok(answer) => self.learn(&method.path, answer.get_ref()),
            Err(status) => is_documented(self.contract, method, &status),
        }
        Ok(())
    }

    /// Notes what is told in an answer, which has to be one.
    fn learn(&mut self, path: &str, answer: &[u8]) {
        match path.rsplit('/').next() {
            Some("CreateSnippet") => {
                let snippet = decoded::<pb::CreateSnippetResponse>(answer).snippet.expect("a snippet");
                self.known.extend([snippet.owner, snippet.etag, snippet.id]);
            }
            Some("CreateAccount") => {
                let account = decoded::<pb::CreateAccountResponse>(answer).account.expect("an account");
                self.known.push(account.id);
            }
            Some("CreateApiKey") => {
                let pb::CreateApiKeyResponse { api_key, secret } = decoded(answer);
                self.known.push(api_key.expect("a key").id);
                self.keys.push(secret);
            }
            Some("ListSnippets") => {
                let listed: pb::ListSnippetsResponse = decoded(answer);
                assert!(listed.snippets.len() <= 200 && listed.snippets.iter().all(|it| it.body.is_empty()));
                self.known.push(listed.next_page_token);
            }
            Some("ListAccounts") => {
                self.known.push(decoded::<pb::ListAccountsResponse>(answer).next_page_token);
            }
            _ => {}
        }
    }
}

fn decoded<M: Message + Default>(answer: &[u8]) -> M {
    M::decode(answer).expect("an answer of the contract")
}

/// Of what can't be, tonic says so and nothing of ours sees it.
fn can_be_decoded(method: &Method, body: &[u8]) -> bool {
    let name = method.input.trim_start_matches(".snippets.v1.");
    macro_rules! any_of {
        ($($message:ident)*) => {{
            $(if name == stringify!($message) {
                return pb::$message::decode(body).is_ok();
            })*
        }};
    }
    any_of!(CreateSnippetRequest GetSnippetRequest BatchGetSnippetsRequest UpdateSnippetRequest DeleteSnippetRequest
        ListSnippetsRequest GetViewStatsRequest CreateAccountRequest GetAccountRequest ListAccountsRequest
        UpdateAccountRequest CreateApiKeyRequest ListApiKeysRequest RevokeApiKeyRequest GetCallerRequest);
    panic!("{name} is not known here yet")
}

/// Messages that are encoded, on both ways.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> std::result::Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> std::result::Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
