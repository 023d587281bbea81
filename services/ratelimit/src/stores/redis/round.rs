//! What all attempts at a request with an id do together, where its charges are on several nodes.
//!
//! The receipt is kept by the request's name, on a node of its own. The first attempt begins a round, and the receipt says
//! so; those that come meanwhile, or after a crash, join it. Whatever a round is charged has receipts under its number, and
//! is charged once. The round is settled on that one node: by the first attempt that puts down what was decided, or by one
//! that gives it up. Only then may anything be given back, and who comes later begins another round.

use redis::Cmd;
use uuid::Uuid;

use super::{
    Server,
    batch::{Arguments, BEGUN, decode_receipt, encode_receipt},
    packed::{Unpacker, millis},
};
use crate::stores::{Decided, Order, Receipt, ReceiptKey, ReceiptOrder, StoreError};

/// A round of attempts.
pub(super) struct Round {
    number: u64,
    is_new: bool,
}

/// What an attempt finds.
pub(super) enum Begun {
    Round(Round),
    /// The request was answered before.
    Before(Receipt),
}

/// What became of a round.
pub(super) enum Settled {
    /// What this attempt wanted.
    Now,
    /// Another attempt had put that down.
    Before(Receipt),
    /// Another attempt had given it up.
    GivenUp,
}

impl Round {
    /// Whether this attempt began it.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Names the receipt for a subject's part of the request.
    pub fn receipt_of(&self, subject: &str, request: &ReceiptKey) -> ReceiptKey {
        ReceiptKey::of_part(subject, &ReceiptKey::of_part(&self.number.to_string(), request))
    }

    fn new() -> Self {
        // What is packed is below 2^53.
        let number = Uuid::new_v4().as_u128() >> (128 - 53);
        Self { number: u64::try_from(number).unwrap_or_default(), is_new: true }
    }

    fn begun(&self) -> Vec<u8> {
        format!("{BEGUN}{}", self.number).into_bytes()
    }

    /// The round that a receipt which is only begun belongs to.
    fn joined(begun: &[u8]) -> Option<Self> {
        let number = std::str::from_utf8(begun).ok()?.strip_prefix(BEGUN)?.parse().ok()?;
        Some(Self { number, is_new: false })
    }
}

impl Settled {
    /// Whether the request is allowed and what it was charged stays; `wanted` is what this attempt decided.
    pub fn is_allowed(&self, order: &Order, wanted: &Decided) -> bool {
        let allowed =
            |decided: &Decided| !decided.decisions.is_empty() && !order.is_denied(&decided.decisions);
        match self {
            Self::Now => allowed(wanted),
            Self::Before(known) => allowed(&known.decided),
            Self::GivenUp => false,
        }
    }
}

impl Server {
    /// Begins a round, or joins the one that was begun.
    pub(super) async fn begin(&self, receipt: &ReceiptOrder) -> Result<Begun, StoreError> {
        let round = Round::new();
        let mut set = redis::cmd("SET");
        set.arg(self.key(&receipt.key)).arg(round.begun());
        set.arg("PX").arg(millis(receipt.kept_for)).arg("NX").arg("GET");
        let Some(known) = self.query::<Option<Vec<u8>>>(&set).await? else { return Ok(Begun::Round(round)) };
        if let Some(round) = Round::joined(&known) {
            return Ok(Begun::Round(round));
        }
        let known = decode_receipt(&known.into())?;
        known.map(Begun::Before).ok_or(StoreError::Malformed("a round without its number"))
    }

    /// Settles the round by what was decided.
    pub(super) async fn finish(
        &self,
        order: &Order,
        receipt: &ReceiptOrder,
        round: &Round,
        decided: &Decided,
    ) -> Result<Settled, StoreError> {
        let denied = order.is_denied(&decided.decisions);
        let kept_for = if denied { receipt.kept_if_denied } else { receipt.kept_for };
        let mut told = encode_receipt(decided, &receipt.memo);
        write_number(&mut told, round.number);
        self.settle(&receipt.key, round, told, millis(kept_for)).await
    }

    /// Settles the round as given up: nothing is known of the request any more.
    pub(super) async fn forget(&self, receipt: &ReceiptOrder, round: &Round) -> Result<Settled, StoreError> {
        self.settle(&receipt.key, round, Vec::new(), 0).await
    }

    /// The round that a request was charged in.
    pub(super) async fn round_of(&self, request: &ReceiptKey) -> Result<Option<Round>, StoreError> {
        let get: Cmd = redis::cmd("GET").arg(self.key(request)).to_owned();
        let kept: Option<Vec<u8>> = self.query(&get).await?;
        let number = kept.as_deref().and_then(|kept| kept.get(NUMBER_AT..));
        let number = number.map(|packed| Unpacker(packed).number()).transpose()?;
        Ok(number.map(|number| Round { number, is_new: false }))
    }

    async fn settle(
        &self,
        request: &ReceiptKey,
        round: &Round,
        told: Vec<u8>,
        kept_ms: u64,
    ) -> Result<Settled, StoreError> {
        let args = vec![round.begun(), told, kept_ms.to_string().into_bytes()];
        let call = Arguments { keys: vec![self.key(request)], args };
        let other: Option<Vec<u8>> = self.in_time(self.settle.run(&self.connections, &call)).await?;
        match other {
            None => Ok(Settled::Now),
            Some(nothing) if nothing.is_empty() => Ok(Settled::GivenUp),
            Some(other) if Round::joined(&other).is_some() => Ok(Settled::GivenUp),
            Some(known) => {
                let known = decode_receipt(&known.into())?;
                Ok(known.map_or(Settled::GivenUp, Settled::Before))
            }
        }
    }
}

/// Where a receipt has the round's number: where else it would say how long the lease of its first charge is good for. A
/// request with an id leases nothing. Before it are the flag, the time, how many charges there are, whether the first is
/// allowed, and four numbers.
const NUMBER_AT: usize = 1 + 8 + 2 + 1 + 4 * 8;

fn write_number(receipt: &mut [u8], number: u64) {
    let mut packed = super::packed::Packer::default();
    packed.number(number);
    if let Some(place) = receipt.get_mut(NUMBER_AT..NUMBER_AT + packed.0.len()) {
        place.copy_from_slice(&packed.0);
    }
}
