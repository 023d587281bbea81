//! Who may do what, as tables: each caller, each call, each state that a snippet can be in, wherever there is a copy of it.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod accounts;
mod calls;
mod scene;
mod table;

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};
use rpc::snippets::v1::Snippet;

use calls::Call;
use scene::{Caller, Copies, MISSING, Scene};

/// Calls at once: few enough for a copy to be there still when it is called for.
const CONCURRENCY: usize = 16;

/// One call to one snippet.
struct Case<'a> {
    caller: &'a Caller,
    call: Call,
    state: &'static str,
    copies: Copies,
    expected: &'static str,
}

#[tokio::test]
async fn everybody_does_what_the_table_says_and_no_more() {
    let scene = Scene::start().await;
    accounts::everybody_does_what_the_table_says(&scene).await;
    let cases = cases(&scene);
    let tried = stream::iter(cases.iter().enumerate()).map(|(number, case)| case.attempt(&scene, number));
    let tried: Vec<_> = tried.buffer_unordered(CONCURRENCY).collect().await;
    let counted: HashMap<_, _> = scene.views().await.into_iter().collect();
    let mut wrong = Vec::new();
    for (case, id, failure) in tried {
        wrong.extend(failure);
        let views = counted.get(&id).copied().unwrap_or_default();
        if case.keeps_its_views() && views != u64::from(case.expected == "view") {
            wrong.push(format!("{case}: {views} views"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    for hits in [
        "snippets_near_cache_requests_total{outcome=\"hit\"}",
        "snippets_cache_requests_total{outcome=\"hit\"}",
    ] {
        let hits = scene.product.snippets[0].metric(hits).await.unwrap();
        assert!(hits > 100.0, "{hits} reads found a copy");
    }
}

fn cases(scene: &Scene) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for ([kind, line], state, expected) in table::cells::<2>(table::SNIPPETS) {
        for caller in scene.callers.iter().filter(|caller| caller.kind == kind) {
            for call in calls::of_line(line) {
                for copies in Copies::ALL {
                    cases.push(Case { caller, call, state, copies, expected });
                }
            }
        }
    }
    assert!(scene.callers.iter().all(|caller| cases.iter().any(|case| case.caller.name == caller.name)));
    cases
}

impl Case<'_> {
    /// Itself, the snippet's id, and what is wrong.
    async fn attempt(&self, scene: &Scene, number: usize) -> (&Self, String, Option<String>) {
        let addr = scene.product.snippets[0].grpc_addr();
        let known = scene.snippet(self.state, &format!("case {number}"), self.copies).await;
        let told = self.call.make(self.caller, addr, &known).await;
        let expected = if self.expected == "view" { "seen" } else { self.expected };
        if told.outcome != expected {
            return (self, known.id, Some(format!("{self}: {told:?}")));
        }
        let never = Snippet { id: MISSING.into(), ..known.clone() };
        let missing = match expected {
            // What is not there tells nothing else, but for the caller.
            "nothing" => Some(self.call.make(self.caller, addr, &never).await),
            _ => None,
        };
        let differs = missing.filter(|missing| *missing != told);
        let failure = differs.map(|missing| format!("{self}: {told:?} and of no snippet: {missing:?}"));
        (self, known.id, failure)
    }

    /// Whether its snippet lives on, and only this call can have viewed it.
    fn keeps_its_views(&self) -> bool {
        self.call != Call::Delete && !["burnt", "missing"].contains(&self.state)
    }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { caller, call, state, copies, expected } = self;
        write!(f, "{}, {call:?}, {state}, copies {copies:?}, not {expected}", caller.name)
    }
}
