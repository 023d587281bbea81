//! The services in this process, over memory, with a clock that stands until it is set.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use ratelimit::{
    Limiter,
    clock::Clock,
    grpc::{EnvoyRateLimit, RateLimit, ResponseHeaders},
    stores::{
        Answer, CounterKey, CounterStore, DenialMemory, Fallback, Leases, MemoryCounters, Order, Receipt,
        ReceiptKey, Refund, StoreError,
    },
};
use ratelimit_core::{RuleSet, rules::RuleFile};
use rpc::{
    envoy::service::ratelimit::v3::{
        RateLimitRequest, RateLimitResponse, rate_limit_service_server::RateLimitService as EnvoyService,
    },
    ratelimit::v1::{
        CheckRequest, CheckResponse, ListRulesRequest, ListRulesResponse, ListTopDeniedRequest,
        ListTopDeniedResponse, RefundRequest, RefundResponse, ResetRequest, ResetResponse,
        rate_limit_service_server::RateLimitService,
    },
};
use tonic::{Request, Response, Status};

const RULES: &str = include_str!("rules.yaml");
/// More than a script can make, so that none is dropped to make room.
const COUNTERS_MAX: usize = 100_000;
const RECEIPTS_KEPT_FOR: Duration = Duration::from_hours(1);
/// A Friday in 2026, in microseconds.
const START_US: u64 = 1_795_190_400_000_000;

/// Both services, on the same limiter.
pub struct Service {
    ratelimit: RateLimit,
    envoy: EnvoyRateLimit,
    clock: SetClock,
    away: Arc<AtomicBool>,
}

impl Service {
    /// On memory alone, or on memory that may go away, behind all that the service has for that.
    pub fn new(may_fail: bool) -> Self {
        let (clock, away) = (SetClock::default(), Arc::new(AtomicBool::new(false)));
        let memory = || MemoryCounters::with_clock(COUNTERS_MAX, clock.clone());
        let counters: Arc<dyn CounterStore> = if may_fail {
            let fallback = Fallback::new(MayBeAway { counters: memory(), away: away.clone() }, memory());
            Arc::new(Leases::new(DenialMemory::new(fallback)))
        } else {
            Arc::new(memory())
        };
        let rules = RuleSet::load(&[RuleFile::new("rules.yaml", RULES)]).expect("the rules are valid");
        let limiter = Arc::new(Limiter::new(rules, counters, RECEIPTS_KEPT_FOR));
        let envoy = EnvoyRateLimit::new(limiter.clone(), ResponseHeaders::Draft);
        Self { ratelimit: RateLimit::new(limiter), envoy, clock, away }
    }

    /// Sets the clock forward.
    pub fn wait(&self, micros: u64) {
        self.clock.0.fetch_add(micros, Ordering::Relaxed);
    }

    /// Has the counters go away, or come back.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    pub fn check(&self, request: CheckRequest) -> Result<CheckResponse, Status> {
        now(self.ratelimit.check(Request::new(request)))
    }

    pub fn refund(&self, request: RefundRequest) -> Result<RefundResponse, Status> {
        now(self.ratelimit.refund(Request::new(request)))
    }

    pub fn reset(&self, request: ResetRequest) -> Result<ResetResponse, Status> {
        now(self.ratelimit.reset(Request::new(request)))
    }

    pub fn list_rules(&self, request: ListRulesRequest) -> Result<ListRulesResponse, Status> {
        now(self.ratelimit.list_rules(Request::new(request)))
    }

    pub fn list_top_denied(&self, request: ListTopDeniedRequest) -> Result<ListTopDeniedResponse, Status> {
        now(self.ratelimit.list_top_denied(Request::new(request)))
    }

    pub fn should_rate_limit(&self, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        now(self.envoy.should_rate_limit(Request::new(request)))
    }
}

/// Memory has its answer at once, so no runtime is needed.
fn now<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.map(Response::into_inner),
        Poll::Pending => panic!("a call over memory waits"),
    }
}

#[derive(Clone)]
struct SetClock(Arc<AtomicU64>);

impl Default for SetClock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(START_US)))
    }
}

impl Clock for SetClock {
    fn now_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct MayBeAway {
    counters: MemoryCounters,
    away: Arc<AtomicBool>,
}

impl MayBeAway {
    fn counters(&self) -> Result<&MemoryCounters, StoreError> {
        if self.away.load(Ordering::Relaxed) { Err(StoreError::TimedOut) } else { Ok(&self.counters) }
    }
}

#[async_trait]
impl CounterStore for MayBeAway {
    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        self.counters()?.charge(order).await
    }

    async fn receipts(&self, key: &ReceiptKey) -> Result<Vec<Receipt>, StoreError> {
        self.counters()?.receipts(key).await
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        self.counters()?.give_back(refund).await
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        self.counters()?.reset(counters).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.counters()?.ping().await
    }
}
