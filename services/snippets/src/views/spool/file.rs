//! What is in the file of a batch: the SHA-256 of what follows, then the batch with its trace.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use rpc::views::v1::ViewBatch;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{ports::PendingBatch, views::batches::Batch};

const DIGEST_BYTES: usize = 32;

/// The text of a file after its digest. Never a contract: it is read by the service that wrote it, and by later versions.
#[derive(Clone, PartialEq, Message)]
struct Contents {
    /// An encoded `views.v1.ViewBatch`.
    #[prost(bytes = "bytes", tag = "1")]
    payload: Bytes,
    /// W3C trace context.
    #[prost(btree_map = "string, string", tag = "2")]
    trace: BTreeMap<String, String>,
}

/// Why a file is not that of a batch.
#[derive(Debug, thiserror::Error)]
pub(super) enum Corrupt {
    #[error("the digest is not that of the contents")]
    Digest,
    #[error("the contents can't be decoded: {0}")]
    Contents(#[from] prost::DecodeError),
    #[error("it is the file of another batch")]
    Id,
}

/// The bytes of a batch's file.
pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let contents = contents(batch).encode_to_vec();
    let mut bytes = Sha256::digest(&contents).to_vec();
    bytes.extend(contents);
    bytes
}

/// How many bytes [`encode`] makes of a batch.
pub(super) fn length(batch: &Batch) -> u64 {
    (DIGEST_BYTES + contents(batch).encoded_len()) as u64
}

/// The batch in a file of that name.
pub(super) fn decode(id: Uuid, bytes: &[u8]) -> Result<Batch, Corrupt> {
    let (digest, contents) = bytes.split_at_checked(DIGEST_BYTES).ok_or(Corrupt::Digest)?;
    if Sha256::digest(contents).as_slice() != digest {
        return Err(Corrupt::Digest);
    }
    let Contents { payload, trace } = Contents::decode(contents)?;
    let batch = ViewBatch::decode(payload.clone())?;
    if batch.batch_id != id.to_string() {
        return Err(Corrupt::Id);
    }
    let pending = PendingBatch { id, payload, trace: trace.into_iter().collect() };
    // On disk it takes no place.
    Ok(Batch::new(pending, &batch, 0))
}

fn contents(batch: &Batch) -> Contents {
    let PendingBatch { payload, trace, .. } = &batch.pending;
    Contents { payload: payload.clone(), trace: trace.iter().cloned().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::views::v1::ViewCount;

    fn batch() -> Batch {
        let id = Uuid::now_v7();
        let counts = vec![ViewCount { snippet_id: "a".to_owned(), views: 3 }];
        let message = ViewBatch { batch_id: id.to_string(), counts, ..ViewBatch::default() };
        let trace = vec![("traceparent".to_owned(), "00-a-b-01".to_owned())];
        Batch::new(PendingBatch { id, payload: message.encode_to_vec().into(), trace }, &message, 1)
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let batch = batch();
        let bytes = encode(&batch);
        assert_eq!(bytes.len() as u64, length(&batch));
        let decoded = decode(batch.pending.id, &bytes).unwrap();
        assert_eq!(decoded.pending.payload, batch.pending.payload);
        assert_eq!(decoded.pending.trace, batch.pending.trace);
        assert_eq!((decoded.places, decoded.views), (0, 3));
    }

    #[test]
    fn every_change_of_a_byte_and_every_end_is_found_out() {
        let batch = batch();
        let bytes = encode(&batch);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(decode(batch.pending.id, &changed).is_err(), "the byte at {at}");
            assert!(decode(batch.pending.id, &bytes[..at]).is_err(), "{at} bytes");
        }
        assert!(matches!(decode(Uuid::now_v7(), &bytes), Err(Corrupt::Id)));
    }
}
