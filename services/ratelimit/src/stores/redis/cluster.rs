//! Orders whose counters are on several nodes, which no script reaches together.
//!
//! The counters of a subject are on one node, and are charged all or nothing as ever. An order of several subjects is first
//! looked at, and is denied without any charge if one of them has no room. Else it is charged subject by subject; where
//! one has no room after all, what the others were charged is given back. In between others may be denied needlessly, but
//! more than the limit never passes.
//!
//! A receipt is kept by the request's name, which is on a node of its own. While the request is charged it only says that it
//! was begun, and each subject has a receipt of its part: so a request that is repeated after a crash is charged once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use ratelimit_core::Decision;

use super::{
    Server,
    batch::{BEGUN, decode_receipt, encode_receipt},
    packed::millis,
};
use crate::stores::{
    Answer, CounterCharge, Decided, Order, Receipt, ReceiptKey, ReceiptOrder, Refund, StoreError,
};

/// The charges of an order that belong to one subject.
struct Part {
    order: Arc<Order>,
    /// Their places in the order.
    places: Vec<usize>,
}

impl Server {
    /// [`crate::stores::CounterStore::charge`], where the counters are spread over nodes.
    pub(super) async fn charge_in_parts(&self, order: &Order) -> Result<Answer, StoreError> {
        let receipt = order.receipt.as_ref().filter(|_| !order.peek);
        if let Some(receipt) = receipt
            && let Some(known) = self.begin(receipt).await?
        {
            return Ok(Answer::Known(known));
        }
        let (decided, charged_before) = self.charge_subjects(order).await?;
        let Some(receipt) = receipt else { return Ok(Answer::Decided(decided)) };
        self.finish(receipt, &decided, order.is_denied(&decided.decisions)).await?;
        if charged_before {
            let memo = receipt.memo.clone();
            return Ok(Answer::Known(Receipt { decided, memo, given_back: false, local: false }));
        }
        Ok(Answer::Decided(decided))
    }

    /// What was decided, and whether all of it was charged before, by an attempt that did not finish.
    async fn charge_subjects(&self, order: &Order) -> Result<(Decided, bool), StoreError> {
        let parts = parts(order);
        if let [part] = parts.as_slice() {
            return self.charge_part(&part.order).await;
        }
        let mut decided = self.look(&parts, order).await?;
        if order.peek || order.is_denied(&decided.decisions) {
            return Ok((decided, false));
        }
        let mut charged: Vec<(&Part, Decided)> = Vec::new();
        let mut charged_before = true;
        for part in &parts {
            let (answer, before) = self.charge_part(&part.order).await?;
            charged_before &= before;
            place(&mut decided, part, &answer);
            if part.order.is_denied(&answer.decisions) {
                self.give_back_parts(charged).await?;
                break;
            }
            charged.push((part, answer));
        }
        Ok((decided, charged_before))
    }

    async fn look(&self, parts: &[Part], order: &Order) -> Result<Decided, StoreError> {
        let mut looked =
            Decided { decisions: vec![NOTHING_KNOWN; order.charges.len()], ..Decided::default() };
        for part in parts {
            let look = Order { peek: true, receipt: None, ..(*part.order).clone() };
            place(&mut looked, part, &self.charge_part(&Arc::new(look)).await?.0);
        }
        Ok(looked)
    }

    /// A part that was charged before is not charged again.
    async fn charge_part(&self, order: &Arc<Order>) -> Result<(Decided, bool), StoreError> {
        Ok(match self.decide_one(order).await? {
            Answer::Decided(decided) => (decided, false),
            Answer::Known(receipt) => (receipt.decided, true),
        })
    }

    async fn give_back_parts(&self, charged: Vec<(&Part, Decided)>) -> Result<(), StoreError> {
        for (Part { order, .. }, Decided { at_us, decisions, .. }) in charged {
            let told = order.charges.iter().cloned().zip(decisions).collect();
            let receipt = order.receipt.as_ref().map(|receipt| receipt.key.clone());
            self.run_give_back(&Refund {
                charges: told,
                charged_us: at_us,
                slot: order.slot.clone(),
                receipt,
                local: false,
            })
            .await?;
        }
        Ok(())
    }

    /// [`crate::stores::CounterStore::give_back`], where the counters are spread over nodes.
    pub(super) async fn give_back_in_parts(&self, refund: &Refund) -> Result<bool, StoreError> {
        // Marked first: what a crash leaves out is given back never, and not twice.
        let mark = Refund { charges: Vec::new(), ..refund.clone() };
        if refund.receipt.is_some() && !self.run_give_back(&mark).await? {
            return Ok(false);
        }
        for (charge, told) in &refund.charges {
            let charged_us = self.charged_us(refund, charge.key.subject()).await?;
            let part = Refund {
                charges: vec![(charge.clone(), *told)],
                charged_us,
                receipt: None,
                ..refund.clone()
            };
            self.run_give_back(&part).await?;
        }
        Ok(true)
    }

    /// When a subject was charged: each part of a request has its own moment, by its own node's clock.
    async fn charged_us(&self, refund: &Refund, subject: &str) -> Result<u64, StoreError> {
        let Some(request) = &refund.receipt else { return Ok(refund.charged_us) };
        let receipt = self.kept_receipt(&ReceiptKey::of_part(subject, request)).await?;
        Ok(receipt.map_or(refund.charged_us, |receipt| receipt.decided.at_us))
    }

    /// Says that the request was begun; gives its receipt if it was finished before.
    async fn begin(&self, receipt: &ReceiptOrder) -> Result<Option<Receipt>, StoreError> {
        let kept_ms = millis(receipt.kept_for);
        let mut set = redis::cmd("SET");
        set.arg(self.key(&receipt.key)).arg(BEGUN).arg("PX").arg(kept_ms).arg("NX").arg("GET");
        let known: Option<Vec<u8>> = self.query(&set).await?;
        known.map_or(Ok(None), |bytes| decode_receipt(&bytes.into()))
    }

    async fn finish(
        &self,
        receipt: &ReceiptOrder,
        decided: &Decided,
        denied: bool,
    ) -> Result<(), StoreError> {
        let kept_for = if denied { receipt.kept_if_denied } else { receipt.kept_for };
        let mut set = redis::cmd("SET");
        set.arg(self.key(&receipt.key)).arg(encode_receipt(decided, &receipt.memo));
        set.arg("PX").arg(millis(kept_for));
        self.query(&set).await
    }
}

/// An order for each subject, in the order of their first charges.
fn parts(order: &Order) -> Vec<Part> {
    let (mut subjects, mut places) = (Vec::new(), HashMap::<&str, Vec<usize>>::new());
    for (place, CounterCharge { key, .. }) in order.charges.iter().enumerate() {
        let subject = key.subject();
        let known = places.entry(subject).or_default();
        if known.is_empty() {
            subjects.push(subject);
        }
        known.push(place);
    }
    let mut part = |subject| {
        let places = places.remove(subject).unwrap_or_default();
        Part { order: Arc::new(part_of(order, subject, &places)), places }
    };
    subjects.into_iter().map(&mut part).collect()
}

fn part_of(order: &Order, subject: &str, places: &[usize]) -> Order {
    let receipt = order.receipt.as_ref().map(|receipt| ReceiptOrder {
        key: ReceiptKey::of_part(subject, &receipt.key),
        memo: Bytes::new(),
        ..receipt.clone()
    });
    let charges = places.iter().map(|place| order.charges[*place].clone()).collect();
    Order { charges, receipt, ..order.clone() }
}

/// Puts the decisions of a part where they belong.
fn place(whole: &mut Decided, part: &Part, answer: &Decided) {
    whole.at_us = whole.at_us.max(answer.at_us);
    for (place, decision) in part.places.iter().zip(&answer.decisions) {
        whole.decisions[*place] = *decision;
    }
    whole.grants.extend(answer.grants.iter().map(|(place, grant)| (part.places[*place], *grant)));
}

/// Of a charge that has not been asked about.
const NOTHING_KNOWN: Decision =
    Decision { allowed: false, remaining: 0, reset_after: Duration::ZERO, retry_after: None };
