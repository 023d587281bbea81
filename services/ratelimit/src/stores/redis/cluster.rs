//! Orders whose counters are on several nodes, which no script reaches together.
//!
//! The counters of a subject are on one node, and are charged all or nothing as ever. An order of several subjects is first
//! looked at, and is denied without any charge if one of them has no room. Else it is charged subject by subject; where
//! one has no room after all, or fails, what the others were charged is given back. In between others may be denied
//! needlessly, but more than the limit never passes. All of this goes on to its end if its caller gives up.
//!
//! A request with an id is charged in a [`Round`], and each part of it has a receipt of its own: so however many attempts
//! there are at it, at once or after a crash, it is charged once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use ratelimit_core::Decision;

use super::{
    Server,
    round::{Begun, Round, Settled},
};
use crate::stores::{Answer, CounterCharge, Decided, Order, Receipt, ReceiptOrder, Refund, StoreError};

/// How often a request is charged anew because another attempt at it has given their round up.
const ROUNDS_MAX: usize = 3;

/// The charges of an order that belong to one subject.
#[derive(Clone)]
struct Part {
    order: Arc<Order>,
    /// Their places in the order.
    places: Vec<usize>,
}

/// What was charged of an order.
struct Charged {
    parts: Vec<(Part, Decided)>,
    /// The part that failed, which was charged or not.
    unknown: Option<Part>,
    /// Nothing was charged that had not been before, by another attempt.
    before: bool,
}

impl Server {
    /// [`crate::stores::CounterStore::charge`], where the counters are spread over nodes.
    pub(super) async fn charge_in_parts(self: &Arc<Self>, order: &Arc<Order>) -> Result<Answer, StoreError> {
        let (server, order) = (self.clone(), order.clone());
        self.to_its_end(async move {
            match order.receipt.as_ref().filter(|_| !order.peek) {
                Some(receipt) => server.charge_once(&order, receipt).await,
                None => server.charge_unnamed(&order).await,
            }
        })
        .await
    }

    /// [`crate::stores::CounterStore::give_back`], where the counters are spread over nodes.
    pub(super) async fn give_back_in_parts(self: &Arc<Self>, refund: &Refund) -> Result<bool, StoreError> {
        let (server, refund) = (self.clone(), refund.clone());
        self.to_its_end(async move { server.give_back_charges(&refund).await }).await
    }

    /// Half of it must not be all that is done.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.tasks.spawn(work).await.unwrap_or(Err(StoreError::Malformed("no answer at all")))
    }

    async fn charge_unnamed(self: &Arc<Self>, order: &Arc<Order>) -> Result<Answer, StoreError> {
        let (charged, verdict) = self.charge_subjects(order, None).await;
        match &verdict {
            Ok(decided) if order.is_denied(&decided.decisions) => self.give_back_parts(&charged).await,
            Ok(_) => {}
            Err(_) => {
                // The caller need not wait for that.
                let server = self.clone();
                self.tasks.spawn(async move { server.give_back_parts(&charged).await });
            }
        }
        verdict.map(Answer::Decided)
    }

    async fn charge_once(
        self: &Arc<Self>,
        order: &Arc<Order>,
        receipt: &ReceiptOrder,
    ) -> Result<Answer, StoreError> {
        for _ in 0..ROUNDS_MAX {
            let round = match self.begin(receipt).await? {
                Begun::Round(round) => round,
                Begun::Before(known) => return Ok(Answer::Known(known)),
            };
            let (charged, verdict) = self.charge_subjects(order, Some(&round)).await;
            let finished = match verdict {
                Ok(decided) => self.finish(order, receipt, &round, &decided).await.map(|it| (it, decided)),
                Err(error) => Err(error),
            };
            match finished {
                Ok((settled, decided)) => {
                    if !settled.is_allowed(order, &decided) {
                        self.give_back_parts(&charged).await;
                    }
                    if let Some(answer) = answer(order, receipt, settled, decided, charged.before) {
                        return Ok(answer);
                    }
                }
                Err(error) => {
                    self.give_up(order, receipt, round, charged);
                    return Err(error);
                }
            }
        }
        Err(StoreError::TimedOut)
    }

    /// Gives back what was charged, unless another attempt has finished the request, or may still do so. The caller need
    /// not wait for that.
    fn give_up(
        self: &Arc<Self>,
        order: &Arc<Order>,
        receipt: &ReceiptOrder,
        round: Round,
        mut charged: Charged,
    ) {
        let (server, order, receipt) = (self.clone(), order.clone(), receipt.clone());
        self.tasks.spawn(async move {
            let Ok(settled) = server.forget(&receipt, &round).await else { return };
            if settled.is_allowed(&order, &Decided::default()) {
                return;
            }
            if let Some(part) = charged.unknown.take()
                && let Ok(Some(known)) = server.charged_before(&part).await
            {
                charged.parts.push((part, known));
            }
            server.give_back_parts(&charged).await;
        });
    }

    async fn charge_subjects(
        &self,
        order: &Order,
        round: Option<&Round>,
    ) -> (Charged, Result<Decided, StoreError>) {
        let mut charged = Charged { parts: Vec::new(), unknown: None, before: true };
        let verdict = self.charge_each(order, round, &mut charged).await;
        (charged, verdict)
    }

    /// Who joins a round does not look first: what there is no room for may be what the round was charged already.
    async fn charge_each(
        &self,
        order: &Order,
        round: Option<&Round>,
        charged: &mut Charged,
    ) -> Result<Decided, StoreError> {
        let (parts, looks) = (parts(order, round), round.is_none_or(Round::is_new));
        let decisions = vec![NOTHING_KNOWN; order.charges.len()];
        let mut decided = Decided { decisions, ..Decided::default() };
        if looks && parts.len() > 1 {
            self.look(&parts, &mut decided).await?;
            if order.peek || order.is_denied(&decided.decisions) {
                charged.before = false;
                return Ok(decided);
            }
        }
        for (index, part) in parts.iter().enumerate() {
            charged.unknown = Some(part.clone());
            let (answer, before) = self.charge_part(&part.order).await?;
            charged.unknown = None;
            charged.before &= before;
            place(&mut decided, part, &answer);
            if part.order.is_denied(&answer.decisions) {
                if !looks {
                    self.look(&parts[index + 1..], &mut decided).await?;
                }
                break;
            }
            charged.parts.push((part.clone(), answer));
        }
        Ok(decided)
    }

    async fn look(&self, parts: &[Part], looked: &mut Decided) -> Result<(), StoreError> {
        for part in parts {
            let look = Order { peek: true, receipt: None, ..(*part.order).clone() };
            place(looked, part, &self.charge_part(&Arc::new(look)).await?.0);
        }
        Ok(())
    }

    /// A part that was charged before is not charged again. If it was given back since then, its round is settled, and who
    /// tries to finish it finds that out.
    async fn charge_part(&self, order: &Arc<Order>) -> Result<(Decided, bool), StoreError> {
        Ok(match self.decide_one(order).await? {
            Answer::Decided(decided) => (decided, false),
            Answer::Known(receipt) => (receipt.decided, true),
        })
    }

    /// What a part was charged, as its receipt says.
    async fn charged_before(&self, part: &Part) -> Result<Option<Decided>, StoreError> {
        let Some(receipt) = &part.order.receipt else { return Ok(None) };
        let known = self.kept_receipt(&receipt.key).await?.map(|known| known.decided);
        Ok(known.filter(|known| !part.order.is_denied(&known.decisions)))
    }

    /// Of what can't be given back the other parts are all the same.
    async fn give_back_parts(&self, charged: &Charged) {
        for (Part { order, .. }, decided) in &charged.parts {
            if let Err(error) = self.give_back_part(order, decided).await {
                tracing::warn!(%error, "a part of a request could not be given back");
            }
        }
    }

    async fn give_back_part(&self, order: &Order, decided: &Decided) -> Result<(), StoreError> {
        let told = order.charges.iter().cloned().zip(decided.decisions.iter().copied());
        let receipt = order.receipt.as_ref().map(|receipt| receipt.key.clone());
        let refund = Refund {
            charges: told.filter(|(_, told)| told.allowed).collect(),
            charged_us: decided.at_us,
            slot: order.slot.clone(),
            receipt,
            local: false,
        };
        self.run_give_back(&refund).await?;
        match &refund.receipt {
            Some(receipt) => self.query(redis::cmd("UNLINK").arg(self.key(receipt))).await,
            None => Ok(()),
        }
    }

    async fn give_back_charges(&self, refund: &Refund) -> Result<bool, StoreError> {
        let round = match &refund.receipt {
            Some(receipt) => self.round_of(receipt).await?,
            None => None,
        };
        // Marked first: what a crash leaves out is given back never, and not twice.
        let mark = Refund { charges: Vec::new(), ..refund.clone() };
        if refund.receipt.is_some() && !self.run_give_back(&mark).await? {
            return Ok(false);
        }
        for (charge, told) in &refund.charges {
            let charged_us = self.charged_us(refund, round.as_ref(), charge.key.subject()).await?;
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
    async fn charged_us(
        &self,
        refund: &Refund,
        round: Option<&Round>,
        subject: &str,
    ) -> Result<u64, StoreError> {
        let (Some(request), Some(round)) = (&refund.receipt, round) else { return Ok(refund.charged_us) };
        let receipt = self.kept_receipt(&round.receipt_of(subject, request)).await?;
        Ok(receipt.map_or(refund.charged_us, |receipt| receipt.decided.at_us))
    }
}

/// What the caller is told; `None` where the round was given up.
fn answer(
    order: &Order,
    receipt: &ReceiptOrder,
    settled: Settled,
    decided: Decided,
    charged_before: bool,
) -> Option<Answer> {
    let denied = |decided: &Decided| order.is_denied(&decided.decisions);
    Some(match settled {
        Settled::Now if charged_before => {
            Answer::Known(Receipt { decided, memo: receipt.memo.clone(), given_back: false, local: false })
        }
        Settled::Now => Answer::Decided(decided),
        // Faster was an attempt that found charged what this one had charged.
        Settled::Before(known) if !charged_before && denied(&known.decided) == denied(&decided) => {
            Answer::Decided(decided)
        }
        Settled::Before(known) => Answer::Known(known),
        Settled::GivenUp => return None,
    })
}

/// An order for each subject, in the order of their first charges.
fn parts(order: &Order, round: Option<&Round>) -> Vec<Part> {
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
        Part { order: Arc::new(part_of(order, round, subject, &places)), places }
    };
    subjects.into_iter().map(&mut part).collect()
}

fn part_of(order: &Order, round: Option<&Round>, subject: &str, places: &[usize]) -> Order {
    let receipt = order.receipt.as_ref().zip(round).map(|(receipt, round)| ReceiptOrder {
        key: round.receipt_of(subject, &receipt.key),
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
