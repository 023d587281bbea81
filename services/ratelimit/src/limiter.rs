//! What a Check does: find the rules, charge their counters, and put the answers together.

mod bill;
mod check;
mod memo;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ratelimit_core::RuleSet;

pub use self::check::{CheckError, Descriptor, Mode, Outcome, RuleStatus, UNLIMITED, limit};
use self::{
    bill::Bill,
    memo::{Fingerprint, Memo},
};
use crate::{
    DenialLog,
    decisions::Decisions,
    denials::{Denials, Offender},
    stores::{Answer, CounterStore, Decided, Order, Receipt, ReceiptKey, ReceiptOrder, Refund, StoreError},
};

/// How long the answer to a denied request with an id is kept: long enough for a retried call. A flood of denied requests
/// must not fill the memory of the counters.
const DENIED_KEPT_FOR: Duration = Duration::from_secs(60);

/// Decides whether requests may pass. The service asks it over gRPC, `standalone` directly.
pub struct Limiter {
    rules: ArcSwap<RuleSet>,
    counters: Arc<dyn CounterStore>,
    decisions: Decisions,
    denials: Denials,
    denial_log: DenialLog,
    receipts_kept_for: Duration,
}

impl Limiter {
    /// Limits by these rules and counters, and keeps the answers to requests with an id for that long.
    pub fn new(rules: RuleSet, counters: Arc<dyn CounterStore>, receipts_kept_for: Duration) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
            counters,
            decisions: Decisions::default(),
            denials: Denials::new(),
            denial_log: DenialLog::default(),
            receipts_kept_for,
        }
    }

    /// Logs denials there.
    #[must_use]
    pub fn with_denial_log(self, denial_log: DenialLog) -> Self {
        Self { denial_log, ..self }
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.rules.load_full()
    }

    /// Puts other rules in force, for all Checks from now on.
    pub fn replace_rules(&self, rules: RuleSet) {
        self.rules.store(Arc::new(rules));
        self.decisions.forget();
    }

    /// Charges every rule that matches a descriptor, all or nothing. Where no rule matches, the request is allowed. A rule
    /// that several descriptors match with the same entries is charged the sum of their costs.
    ///
    /// # Errors
    /// [`CheckError`]; nothing was charged then, except perhaps where the counters did not answer in time.
    pub async fn check(
        &self,
        domain: &str,
        descriptors: &[Descriptor],
        mode: Mode<'_>,
    ) -> Result<Outcome, CheckError> {
        let rules = self.rules.load();
        let bill = Bill::of(&rules, domain, descriptors);
        bill.validate_costs()?;
        self.decide(&rules, domain, descriptors, mode, bill).await
    }

    /// Like [`check`](Self::check), but what can never pass is denied and not an error.
    ///
    /// # Errors
    /// When the counters are away.
    pub async fn should_rate_limit(
        &self,
        domain: &str,
        descriptors: &[Descriptor],
    ) -> Result<Outcome, CheckError> {
        let rules = self.rules.load();
        let bill = Bill::of(&rules, domain, descriptors);
        self.decide(&rules, domain, descriptors, Mode::Charge, bill).await
    }

    async fn decide(
        &self,
        rules: &RuleSet,
        domain: &str,
        descriptors: &[Descriptor],
        mode: Mode<'_>,
        mut bill: Bill,
    ) -> Result<Outcome, CheckError> {
        if bill.matched.is_empty() {
            self.decisions.unmatched(rules.domain(domain).map(|_| domain));
            return Ok(Outcome::of(Vec::new()));
        }
        let statuses = self.charge(domain, descriptors, mode, &mut bill).await?;
        for status in &statuses {
            self.decisions.decided(domain, status, mode == Mode::Peek);
        }
        for (matched, status) in bill.matched.iter().zip(&statuses) {
            self.decisions.decided_in_detail(domain, matched.metric_name.as_deref(), status);
        }
        if mode != Mode::Peek {
            self.denials.count(domain, descriptors, &statuses);
            self.denial_log.log(domain, descriptors, &statuses);
        }
        Ok(Outcome::of(statuses))
    }

    async fn charge(
        &self,
        domain: &str,
        descriptors: &[Descriptor],
        mode: Mode<'_>,
        bill: &mut Bill,
    ) -> Result<Vec<RuleStatus>, CheckError> {
        if bill.charges.is_empty() {
            return Ok(bill.statuses(&[]));
        }
        let order = self.order(domain, descriptors, mode, bill);
        let answer = match self.counters.charge_at_once(&order) {
            Some(answer) => Ok(answer),
            None => self.counters.charge(&Arc::new(order)).await,
        };
        match answer.inspect_err(|_| self.decisions.unavailable(domain, bill.rules()))? {
            Answer::Decided(decided) => Ok(bill.statuses(&decided.decisions)),
            Answer::Known(receipt) => known(&receipt, Fingerprint::of(descriptors)),
        }
    }

    fn order(&self, domain: &str, descriptors: &[Descriptor], mode: Mode<'_>, bill: &mut Bill) -> Order {
        let receipt = |request_id| ReceiptOrder {
            key: ReceiptKey::new(domain, request_id),
            memo: Memo::of(bill, Fingerprint::of(descriptors)).encode(),
            // A slot can be given back as long as it may be held.
            kept_for: self.receipts_kept_for.max(bill.longest_hold()),
            kept_if_denied: DENIED_KEPT_FOR.min(self.receipts_kept_for),
        };
        let receipt = if let Mode::Once(id) = mode { Some(receipt(id)) } else { None };
        let slot = bill.slot(mode);
        Order { charges: std::mem::take(&mut bill.charges), peek: mode == Mode::Peek, slot, receipt }
    }

    /// Gives back what the Check with that id was charged, as far as it still counts: once. False where the id is unknown,
    /// was denied, or was refunded before.
    ///
    /// # Errors
    /// When the counters are away.
    pub async fn refund(&self, domain: &str, request_id: &str) -> Result<bool, StoreError> {
        let key = ReceiptKey::new(domain, request_id);
        let mut refunded = false;
        for receipt in self.counters.receipts(&key).await? {
            refunded |= self.give_back(domain, request_id, &key, receipt).await?;
        }
        Ok(refunded)
    }

    async fn give_back(
        &self,
        domain: &str,
        request_id: &str,
        key: &ReceiptKey,
        receipt: Receipt,
    ) -> Result<bool, StoreError> {
        let memo = Memo::decode(&receipt.memo)?;
        if receipt.given_back || !memo.outcome(&receipt.decided.decisions).allowed {
            return Ok(false);
        }
        let Decided { at_us, decisions, .. } = receipt.decided;
        let refund = Refund {
            charges: memo.charged(self.rules.load().domain(domain), &decisions),
            charged_us: at_us,
            slot: request_id.into(),
            receipt: Some(key.clone()),
            local: receipt.local,
        };
        self.counters.give_back(&refund).await
    }

    /// The busiest offenders of a domain and how often this process denied them within the last one to two hours, the
    /// busiest first. The counts may be too high, by 1/4096 of all denials at most.
    pub fn top_denied(&self, domain: &str, count: usize) -> Vec<(Arc<Offender>, u64)> {
        self.denials.top(domain, count)
    }

    /// Forgets the counters of every rule that matches a descriptor.
    ///
    /// # Errors
    /// When the counters are away.
    pub async fn reset(&self, domain: &str, descriptors: &[Descriptor]) -> Result<(), StoreError> {
        let keys = bill::counters(&self.rules.load(), domain, descriptors);
        self.counters.reset(&keys).await
    }
}

fn known(receipt: &Receipt, fingerprint: Fingerprint) -> Result<Vec<RuleStatus>, CheckError> {
    let memo = Memo::decode(&receipt.memo)?;
    if memo.is_of(fingerprint) {
        Ok(memo.outcome(&receipt.decided.decisions).statuses)
    } else {
        Err(CheckError::OtherRequest)
    }
}
