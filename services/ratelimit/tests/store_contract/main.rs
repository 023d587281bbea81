//! What every counter store must do, run on each of them, and what only Redis can do.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod cluster;
mod cluster_parts;
mod distant_cluster;
mod on_redis;
mod sentinel;
mod silent_nodes;

/// Hands every case to a macro.
#[macro_export]
macro_rules! with_cases {
    ($run:ident) => {
        $run!(
            is_exact_under_concurrency,
            charges_all_or_nothing,
            shadow_never_denies_and_counts,
            a_cost_is_charged_whole,
            a_peek_changes_nothing,
            a_window_ends,
            a_bucket_refills_to_its_burst,
            limits_of_different_parameters_are_apart,
            a_cost_of_nothing_looks,
            a_repeated_request_is_answered_as_the_first_time,
            a_request_that_is_repeated_at_once_is_charged_once,
            a_refund_gives_back_once,
            a_refund_of_nothing_gives_nothing_back,
            a_reset_forgets,
            a_slot_is_free_after_its_period
        );
    };
}

macro_rules! tests {
    ($($case:ident),* $(,)?) => {
        mod contract_on_memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let store = ratelimit::stores::MemoryCounters::new(1000);
                crate::cases::$case(std::sync::Arc::new(store)).await;
            })*
        }
        mod contract_on_redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let store = crate::support::redis_counters(&stack::unique("contract"));
                crate::cases::$case(std::sync::Arc::new(store)).await;
            })*
        }
    };
}

with_cases!(tests);
