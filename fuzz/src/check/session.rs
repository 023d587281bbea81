//! Plays a script, and compares what counts before and after each call.

use std::collections::HashSet;

use rpc::{
    envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse, rate_limit_response as pb},
    ratelimit::v1::{
        Algorithm, CheckRequest, CheckResponse, LimitStatus, ListRulesRequest, ListTopDeniedRequest,
        RefundRequest, ResetRequest,
    },
};
use tonic::{Code, Status};

use crate::{
    answers::{self, Rules},
    errors::is_documented,
    script::{Call, Script, Step},
    service::Service,
};

/// Entries of `ListTopDenied` where the request does not say how many.
const TOP_DENIED_DEFAULT: usize = 10;

type Checked = Result<CheckResponse, Status>;

/// A run of a script.
struct Session {
    service: Service,
    rules: Rules,
    version: String,
    /// Whether counters are exact: nothing remembers them by a clock of its own.
    is_exact: bool,
    is_away: bool,
    request_ids: HashSet<(String, String)>,
}

/// Plays the script.
pub fn play(script: Script) {
    let service = Service::new(script.may_fail);
    let listed = service.list_rules(ListRulesRequest::default()).expect("rules can be listed");
    let (rules, is_exact) = (Rules::new(listed.rules), !script.may_fail);
    let request_ids = HashSet::new();
    let mut session =
        Session { service, rules, version: listed.version, is_exact, is_away: false, request_ids };
    for (number, step) in script.steps.into_iter().enumerate() {
        session.step(number, step);
    }
}

impl Session {
    fn step(&mut self, number: usize, step: Step) {
        match step {
            Step::Wait(micros) => self.service.wait(micros),
            Step::Away(away) => {
                self.is_away = away && !self.is_exact;
                self.service.set_away(self.is_away);
            }
            Step::Undone(request) => {
                self.undo(CheckRequest { request_id: format!("undone {number}"), ..request });
            }
            Step::Call(Call::Check(request)) => self.check(&request),
            Step::Call(Call::Refund(request)) => drop(self.refund(request)),
            Step::Call(Call::Reset(request)) => self.reset(request),
            Step::Call(Call::ListRules(request)) => self.list_rules(request),
            Step::Call(Call::ListTopDenied(request)) => self.list_top_denied(request),
            Step::Call(Call::ShouldRateLimit(request)) => self.should_rate_limit(&request),
        }
    }

    /// Fails unless the method may fail so.
    fn is_documented(&self, status: &Status, codes: &[Code]) {
        let unavailable = if self.is_away { &[Code::Unavailable][..] } else { &[] };
        is_documented(status, &[codes, unavailable].concat());
    }

    fn asked(&self, request: &CheckRequest) -> Checked {
        let answer = self.service.check(request.clone());
        match &answer {
            Ok(response) => self.rules.is_answer(request, response),
            Err(status) => self.is_documented(status, &[Code::InvalidArgument, Code::AlreadyExists]),
        }
        answer
    }

    fn peek(&self, request: &CheckRequest) -> Checked {
        self.asked(&CheckRequest { peek: true, request_id: String::new(), ..request.clone() })
    }

    fn check(&mut self, request: &CheckRequest) {
        let before = self.peek(request);
        let answer = self.asked(request);
        if !self.is_exact {
            return;
        }
        let after = self.peek(request);
        let is_kept = !request.request_id.is_empty() && !request.peek;
        let request_id = (request.domain.clone(), request.request_id.clone());
        let is_known = is_kept && !self.request_ids.insert(request_id);
        match (&before, &answer) {
            (Err(_), Ok(answer)) => panic!("{answer:?} to what can't be asked: {before:?}"),
            (_, Err(_)) => same(&before, &after),
            (Ok(_), Ok(_)) if request.peek => {
                same(&before, &answer);
                same(&before, &after);
            }
            (Ok(_), Ok(answer)) if !is_known => charged(&before, answer, &after),
            (Ok(_), Ok(_)) => {}
        }
        if is_kept && answer.is_ok() {
            same(&answer, &self.asked(request));
            same(&after, &self.peek(request));
        }
    }

    /// A Check that is given back counts nothing, and is given back once.
    fn undo(&self, request: CheckRequest) {
        let request = CheckRequest { peek: false, ..request };
        let before = self.peek(&request);
        let Ok(answer) = self.asked(&request) else { return };
        let refund = RefundRequest { domain: request.domain.clone(), request_id: request.request_id.clone() };
        let refunded = self.refund(refund.clone());
        if !self.is_exact {
            return;
        }
        let counted = answer.statuses.iter().any(|it| it.algorithm() != Algorithm::Unspecified);
        assert_eq!(refunded, Some(answer.allowed && counted), "{answer:?}");
        assert_eq!(self.refund(refund), Some(false), "refunded twice");
        assert_eq!(remaining(&before), remaining(&self.peek(&request)), "{request:?}");
    }

    fn refund(&self, request: RefundRequest) -> Option<bool> {
        let answer = self.service.refund(request).map(|response| response.refunded);
        answer.inspect_err(|status| self.is_documented(status, &[Code::InvalidArgument])).ok()
    }

    fn reset(&self, request: ResetRequest) {
        let answer = self.service.reset(request.clone());
        if let Err(status) = &answer {
            self.is_documented(status, &[Code::InvalidArgument]);
        }
        let ResetRequest { domain, mut descriptors } = request;
        for descriptor in &mut descriptors {
            descriptor.cost = 1;
        }
        let request = CheckRequest { domain, descriptors, ..CheckRequest::default() };
        let is_reset = self.is_exact && answer.is_ok();
        if let Some(response) = is_reset.then(|| self.peek(&request).ok()).flatten() {
            response.statuses.iter().for_each(|status| self.is_whole(&request.domain, status));
        }
    }

    fn is_whole(&self, domain: &str, status: &LimitStatus) {
        let capacity = self.rules.get(domain, &status.rule).map(answers::capacity);
        assert_eq!(Some(status.remaining), capacity, "{status:?} after it was reset");
    }

    fn list_rules(&self, request: ListRulesRequest) {
        let domain = request.domain.clone();
        let listed = self.service.list_rules(request).expect("rules can be listed");
        assert_eq!(listed.version, self.version);
        assert!(listed.rules.iter().all(|rule| domain.is_empty() || rule.domain == domain), "{listed:?}");
        assert!(listed.rules.iter().all(|rule| self.rules.get(&rule.domain, &rule.rule) == Some(rule)));
    }

    fn list_top_denied(&self, request: ListTopDeniedRequest) {
        let wanted = usize::try_from(request.limit).ok().filter(|wanted| *wanted > 0);
        let listed = match self.service.list_top_denied(request) {
            Ok(response) => response.entries,
            Err(status) => return self.is_documented(&status, &[Code::InvalidArgument]),
        };
        assert!(listed.len() <= wanted.unwrap_or(TOP_DENIED_DEFAULT), "{listed:?}");
        assert!(listed.is_sorted_by(|one, next| one.denied >= next.denied), "{listed:?}");
        assert!(listed.iter().all(|it| it.denied > 0 && it.descriptor.is_some()), "{listed:?}");
    }

    fn should_rate_limit(&self, request: &RateLimitRequest) {
        let mut peek = request.clone();
        for descriptor in &mut peek.descriptors {
            descriptor.hits_addend = Some(0);
        }
        let before = self.should_limit(&peek);
        let answer = self.should_limit(request);
        let is_allowed = answer.is_ok_and(|it| it.overall_code() == pb::Code::Ok);
        if self.is_exact && !is_allowed {
            same(&before, &self.should_limit(&peek));
        }
    }

    fn should_limit(&self, request: &RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let answer = self.service.should_rate_limit(request.clone());
        match &answer {
            Ok(response) => answers::is_envoy_answer(request, response),
            Err(status) => self.is_documented(status, &[Code::InvalidArgument, Code::Unimplemented]),
        }
        answer
    }
}

/// A Check with a new id or none does what a peek said, and charges all or nothing.
fn charged(before: &Checked, answer: &CheckResponse, after: &Checked) {
    if !answer.allowed {
        same(before, &Ok(answer.clone()));
        return same(before, after);
    }
    let allowed = |it: &CheckResponse| it.statuses.iter().map(|it| it.allowed).collect::<Vec<_>>();
    assert_eq!(before.as_ref().ok().map(allowed), Some(allowed(answer)), "{before:?} {answer:?}");
    let left = |it: &CheckResponse| {
        it.statuses.iter().map(|it| (it.rule.clone(), it.remaining, it.reset_after)).collect::<Vec<_>>()
    };
    assert_eq!(after.as_ref().ok().map(left), Some(left(answer)), "{answer:?} {after:?}");
}

fn remaining(answer: &Checked) -> Option<Vec<u64>> {
    answer.as_ref().ok().map(|it| it.statuses.iter().map(|status| status.remaining).collect())
}

/// Fails unless both say the same.
fn same<T: PartialEq + std::fmt::Debug>(one: &Result<T, Status>, other: &Result<T, Status>) {
    match (one, other) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        (Err(one), Err(other)) => assert_eq!((one.code(), one.message()), (other.code(), other.message())),
        _ => panic!("{one:?} and then {other:?}"),
    }
}
