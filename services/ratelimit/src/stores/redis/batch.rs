//! A batch of orders as one script call, in the order of the script's header.

use std::{borrow::Borrow, collections::HashMap};

use bytes::Bytes;
use redis::Value;

use super::packed::{Packer, Unpacker, millis};
use crate::stores::{Answer, CounterCharge, CounterKey, Decided, Order, Receipt, StoreError};

/// The arguments of a script call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub keys: Vec<Vec<u8>>,
    pub args: Vec<Vec<u8>>,
}

/// What the script answers.
#[derive(Debug)]
pub(super) enum Reply {
    /// For each order.
    Answers(Vec<Answer>),
    /// A quota's period came from a clock that differs: that of Redis says so, in microseconds.
    OtherPeriod(u64),
}

/// `now_us` is what Redis' clock will most likely say. Where orders before and after a change of the rules meet, all go by
/// the limit of the first.
pub(super) fn encode<O: Borrow<Order>>(prefix: &str, orders: &[O], now_us: u64) -> Arguments {
    let mut call = Arguments::default();
    let (mut counters, mut places) = (Vec::new(), HashMap::new());
    for CounterCharge { key, charge, .. } in orders.iter().flat_map(|order| &order.borrow().charges) {
        places.entry(key).or_insert_with(|| {
            call.keys.push(prefixed(prefix, key));
            let mut counter = Packer::default();
            counter.parameters(&charge.algorithm, Some(now_us));
            counters.push(counter.0);
            call.keys.len()
        });
    }
    let mut count = Packer::default();
    count.place(counters.len());
    call.args.push(count.0);
    call.args.append(&mut counters);
    for order in orders {
        call.order(prefix, order.borrow(), &places);
    }
    call
}

impl Arguments {
    fn order(&mut self, prefix: &str, order: &Order, places: &HashMap<&CounterKey, usize>) {
        let receipt = order.receipt.as_ref().filter(|_| !order.peek);
        if let Some(receipt) = receipt {
            self.keys.push(prefixed(prefix, &receipt.key));
        }
        let mut packer = Packer::default();
        packer.byte(u8::from(!order.peek)).place(receipt.map_or(0, |_| self.keys.len()));
        for CounterCharge { key, charge, lease, .. } in &order.charges {
            let place = places.get(key).copied().unwrap_or_default();
            packer.place(place).byte(u8::from(charge.shadow)).number(charge.cost).number(*lease);
        }
        self.args.push(packer.0);
        if receipt.is_some() || order.takes_slots() {
            let mut kept_ms = Packer::default();
            let kept = receipt.map(|it| (it.kept_for, it.kept_if_denied)).unwrap_or_default();
            kept_ms.number(millis(kept.0)).number(millis(kept.1));
            let memo = receipt.map(|receipt| receipt.memo.to_vec()).unwrap_or_default();
            self.args.extend([order.slot.as_bytes().to_vec(), kept_ms.0, memo]);
        }
    }
}

pub(super) fn prefixed(prefix: &str, key: impl AsRef<str>) -> Vec<u8> {
    [prefix, ":", key.as_ref()].concat().into_bytes()
}

impl Reply {
    pub fn decode<O: Borrow<Order>>(value: Value, orders: &[O]) -> Result<Self, StoreError> {
        let Value::Array(values) = value else { return Err(StoreError::Malformed("not an array")) };
        let mut values = values.into_iter().map(|value| match value {
            Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
            _ => Err(StoreError::Malformed("not strings")),
        });
        let time = values.next().ok_or(StoreError::Malformed("no time"))??;
        let at_us = Unpacker(&time).number()?;
        if values.len() == 0 && !orders.is_empty() {
            return Ok(Self::OtherPeriod(at_us));
        }
        let answers: Vec<_> = values.map(|bytes| decode_answer(&bytes?, at_us)).collect::<Result<_, _>>()?;
        let complete = answers.len() == orders.len()
            && answers.iter().zip(orders).all(|(answer, order)| is_of(answer, order.borrow()));
        if complete { Ok(Self::Answers(answers)) } else { Err(StoreError::Malformed("not all decisions")) }
    }
}

fn is_of(answer: &Answer, order: &Order) -> bool {
    match answer {
        Answer::Decided(decided) => decided.decisions.len() == order.charges.len(),
        Answer::Known(_) => true,
    }
}

fn decode_answer(bytes: &Bytes, at_us: u64) -> Result<Answer, StoreError> {
    let mut unpacker = Unpacker(bytes);
    if unpacker.byte()? == b'K' {
        let receipt = decode_receipt(&bytes.slice(1..))?;
        return receipt.map(Answer::Known).ok_or(StoreError::Malformed("a receipt that was only begun"));
    }
    let (mut decisions, mut grants) = (Vec::new(), Vec::new());
    while !unpacker.is_empty() {
        let (decision, grant) = unpacker.decision()?;
        grants.extend(grant.map(|grant| (decisions.len(), grant)));
        decisions.push(decision);
    }
    Ok(Answer::Decided(Decided { at_us, decisions, grants }))
}

/// What stands for a receipt while its request is charged begins with this.
pub(super) const BEGUN: &str = "B";

/// A flag, the time, how many charges there were, the answer to each, and the memo.
pub(super) fn encode_receipt(decided: &Decided, memo: &Bytes) -> Vec<u8> {
    let mut packer = Packer::default();
    packer.byte(b'0').number(decided.at_us).place(decided.decisions.len());
    for decision in &decided.decisions {
        packer.decision(decision);
    }
    packer.0.extend(memo);
    packer.0
}

/// `None` where the request was only begun.
pub(super) fn decode_receipt(bytes: &Bytes) -> Result<Option<Receipt>, StoreError> {
    if bytes.starts_with(BEGUN.as_bytes()) {
        return Ok(None);
    }
    let mut unpacker = Unpacker(bytes);
    let given_back = unpacker.byte()? == b'1';
    let (at_us, count) = (unpacker.number()?, unpacker.count()?);
    let decisions = (0..count).map(|_| Ok(unpacker.decision()?.0)).collect::<Result<_, StoreError>>()?;
    let memo = bytes.slice(bytes.len() - unpacker.rest().len()..);
    Ok(Some(Receipt {
        decided: Decided { at_us, decisions, grants: Vec::new() },
        memo,
        given_back,
        local: false,
    }))
}
