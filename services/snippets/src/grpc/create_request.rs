//! What tells the repetition of a create from a new one.

use prost::Message as _;
use rpc::snippets::v1 as pb;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    domain::{Caller, Violation},
    ports::CreateRequest,
};

/// The request as the caller has named it, if it has.
pub(super) fn parse(
    message: &pb::CreateSnippetRequest,
    caller: &Caller,
) -> Result<Option<CreateRequest>, Violation> {
    if message.request_id.is_empty() {
        return Ok(None);
    }
    let id = Uuid::try_parse(&message.request_id)
        .map_err(|_| Violation::new("request_id", "must be a UUID, or empty"))?;
    // Its fields are encoded in their order, so that the same snippet has the same bytes.
    let payload = message.snippet.as_ref().map(pb::Snippet::encode_to_vec).unwrap_or_default();
    Ok(Some(CreateRequest { caller: caller.subject(), id, payload_hash: Sha256::digest(payload).into() }))
}
