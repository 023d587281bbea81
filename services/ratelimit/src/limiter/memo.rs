//! What is kept with a receipt: enough to answer as the first time though the rules have changed, and to know what to
//! give back.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ratelimit_core::{Charge, Decision, Domain, Kind, Policy};
use sha2::{Digest as _, Sha256};

use super::{
    Descriptor, Outcome, RuleStatus,
    bill::{Bill, Matched, NOTHING_COUNTED},
};
use crate::stores::{CounterCharge, CounterKey, StoreError};

/// Tells requests apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 16]);

/// Encoded as protobuf; receipts live across versions of the service.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Memo {
    #[prost(bytes = "vec", tag = "1")]
    fingerprint: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    statuses: Vec<MemoStatus>,
    #[prost(message, repeated, tag = "3")]
    charges: Vec<MemoCharge>,
}

#[derive(Clone, PartialEq, Message)]
struct MemoStatus {
    #[prost(string, tag = "1")]
    rule: String,
    #[prost(uint32, tag = "2")]
    descriptor_index: u32,
    #[prost(string, optional, tag = "3")]
    kind: Option<String>,
    #[prost(uint64, tag = "4")]
    limit: u64,
    #[prost(bool, tag = "5")]
    shadow: bool,
    /// Where its charge is.
    #[prost(uint32, optional, tag = "6")]
    place: Option<u32>,
    #[prost(uint64, optional, tag = "7")]
    period_us: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct MemoCharge {
    #[prost(string, tag = "1")]
    rule: String,
    #[prost(string, tag = "2")]
    counter: String,
    #[prost(uint64, tag = "3")]
    cost: u64,
}

impl Fingerprint {
    pub fn of(descriptors: &[Descriptor]) -> Self {
        let mut hash = Sha256::new();
        for descriptor in descriptors {
            hash.update(descriptor.cost.to_be_bytes());
            hash.update(descriptor.entries.len().to_be_bytes());
            for part in descriptor.entries.iter().flat_map(|(key, value)| [key, value]) {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
        }
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash.finalize()[..16]);
        Self(fingerprint)
    }
}

impl Memo {
    pub fn of(bill: &Bill, fingerprint: Fingerprint) -> Self {
        let rule_of = |place| bill.matched.iter().find(|it| it.place == Some(place));
        let charge = |(place, it): (usize, &CounterCharge)| MemoCharge {
            rule: rule_of(place).map(|matched| matched.rule.name.to_string()).unwrap_or_default(),
            counter: it.key.as_ref().to_owned(),
            cost: it.charge.cost,
        };
        Self {
            fingerprint: fingerprint.0.to_vec(),
            statuses: bill.matched.iter().map(MemoStatus::of).collect(),
            charges: bill.charges.iter().enumerate().map(charge).collect(),
        }
    }

    pub fn encode(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    pub fn decode(memo: &Bytes) -> Result<Self, StoreError> {
        Message::decode(memo.clone()).map_err(|_| StoreError::Malformed("a receipt without its memo"))
    }

    pub fn is_of(&self, fingerprint: Fingerprint) -> bool {
        self.fingerprint == fingerprint.0
    }

    pub fn outcome(&self, decisions: &[Decision]) -> Outcome {
        Outcome::of(self.statuses.iter().map(|status| status.with(decisions)).collect())
    }

    /// What was charged and can be given back. A rule that counts in another unit since has another counter, so what was
    /// charged before is of no account any more.
    pub fn charged(&self, domain: Option<&Domain>, decisions: &[Decision]) -> Vec<(CounterCharge, Decision)> {
        let rule = |name: &str| domain?.rules().iter().find(|rule| &*rule.name == name);
        let charged = self.charges.iter().zip(decisions).filter(|(_, decision)| decision.allowed);
        let with_rule =
            charged.filter_map(|(charge, decision)| Some((charge, rule(&charge.rule)?, decision)));
        let given_back = with_rule.filter_map(|(MemoCharge { counter, cost, .. }, rule, decision)| {
            let Policy::Limited(algorithm) = &rule.policy else { return None };
            let charge = Charge { algorithm: algorithm.clone(), cost: *cost, shadow: !rule.is_enforced() };
            let key = CounterKey::of_rule(counter, &rule.name, algorithm)?;
            Some((CounterCharge { key, charge, lease: 0, on_error: rule.on_error }, *decision))
        });
        given_back.collect()
    }
}

impl MemoStatus {
    fn of(matched: &Matched) -> Self {
        let RuleStatus { rule, descriptor_index, kind, limit, period, shadow, .. } =
            RuleStatus::of(&matched.rule, matched.descriptor_index, NOTHING_COUNTED);
        Self {
            rule: rule.to_string(),
            descriptor_index: u32::try_from(descriptor_index).unwrap_or(u32::MAX),
            kind: kind.map(|kind| kind.name().to_owned()),
            limit,
            shadow,
            place: matched.place.and_then(|place| u32::try_from(place).ok()),
            period_us: period.and_then(|period| u64::try_from(period.as_micros()).ok()),
        }
    }

    fn with(&self, decisions: &[Decision]) -> RuleStatus {
        let decision = self.place.and_then(|place| decisions.get(place as usize).copied());
        RuleStatus {
            rule: self.rule.as_str().into(),
            descriptor_index: self.descriptor_index as usize,
            kind: self.kind.as_deref().and_then(Kind::named),
            limit: self.limit,
            period: self.period_us.map(Duration::from_micros),
            shadow: self.shadow,
            given_name: None,
            quota_mode: false,
            decision: decision.unwrap_or(NOTHING_COUNTED),
        }
    }
}
