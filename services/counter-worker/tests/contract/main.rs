//! What every store of totals must do, tried on each of them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod counting;
mod deletions;
mod place;
mod pruning;
mod rollups;
mod setup;
#[path = "../support/mod.rs"]
mod support;

macro_rules! contract {
    ($place:ident: $($theme:ident::$case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::$theme::$case::<crate::place::$place>().await;
            }
        )*
    };
    ($($module:ident($place:ident)),*) => {
        $(mod $module {
            contract! {
                $place:
                counting::a_batch_counts_once_however_often_it_comes,
                counting::a_batch_counts_once_when_it_comes_everywhere_at_once,
                counting::batches_add_up,
                counting::workers_with_the_same_batches_neither_deadlock_nor_miscount,
                counting::workers_on_the_same_snippets_neither_deadlock_nor_miscount,
                counting::a_total_stops_at_the_largest_number,
                rollups::views_belong_to_the_hour_and_day_in_which_they_were_counted,
                rollups::without_a_begin_the_end_of_the_window_counts_and_without_that_the_commit,
                rollups::a_publisher_with_a_wrong_clock_counts_for_now,
                rollups::a_roll_up_stops_at_the_largest_number,
                deletions::a_deleted_snippet_takes_everything_along,
                deletions::what_still_comes_of_a_deleted_snippet_is_dropped,
                deletions::a_repeated_deletion_is_a_duplicate,
                deletions::workers_that_count_and_delete_neither_deadlock_nor_leave_anything,
                deletions::what_was_left_behind_goes_before_the_deletion_is_forgotten,
                deletions::young_deletions_are_remembered,
                pruning::only_old_batches_are_pruned_and_boundedly,
                pruning::a_batch_that_was_forgotten_is_refused_and_not_counted,
                pruning::a_backlog_that_nothing_was_pruned_past_counts,
                pruning::ids_without_a_time_are_pruned_by_when_they_were_applied,
                pruning::a_publisher_whose_clock_is_ahead_does_not_make_others_old,
                pruning::old_hours_are_pruned_and_days_stay,
            }
        })*
    };
}

contract!(postgres(Postgres), sqlite(Sqlite));
