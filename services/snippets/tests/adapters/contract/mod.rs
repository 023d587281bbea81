//! What each port promises.

pub mod accounts;
pub mod cache;
pub mod deletions;
pub mod lists;
pub mod page_token_keys;
pub mod snippets;
pub mod sweep;
pub mod view_history;
pub mod views;

/// Makes a test of each named contract, on what `$world` makes.
macro_rules! holds {
    ($contract:path, $world:path, [$($name:ident),+ $(,)?]) => {
        $(
            #[tokio::test]
            async fn $name() {
                use $contract as contract;
                contract::$name(&$world().await).await;
            }
        )+
    };
}
pub(crate) use holds;

/// Tests a world of stores against all that stores promise.
macro_rules! stores_hold {
    ($world:path) => {
        mod snippet_store {
            crate::contract::holds!(
                crate::contract::snippets,
                $world,
                [
                    reads_back_what_was_inserted,
                    keeps_owners_and_every_visibility,
                    takes_an_id_once,
                    knows_nothing_of_other_ids,
                    reads_many_at_once,
                    reads_bodies_while_there_is_room,
                    an_update_changes_what_the_patch_names,
                    an_update_replaces_everything_when_told_to,
                    an_update_wants_the_version_it_was_told,
                    deletes_once,
                    a_delete_wants_the_version_it_was_told,
                    of_concurrent_edits_of_one_version_one_succeeds,
                    concurrent_unconditional_edits_all_count,
                    a_repeated_request_makes_nothing_new,
                    a_request_whose_id_was_taken_may_try_another,
                    of_concurrent_requests_one_makes_its_snippet,
                    each_view_of_a_limit_is_taken_once,
                    what_is_burnt_is_gone,
                ]
            );
        }
        mod snippet_lists {
            crate::contract::holds!(
                crate::contract::lists,
                $world,
                [
                    shows_what_is_known_but_the_body,
                    everyones_are_the_public_ones_and_ones_own_are_all,
                    filters_by_language_and_tag_exactly,
                    follows_edits_and_deletions,
                    what_is_over_is_not_listed,
                    equals_in_time_have_an_order_too,
                    pages_are_whole_whatever_is_written_meanwhile,
                    the_most_viewed_come_first,
                    views_of_many_snippets_are_copied_in_steps_and_not_before_their_time,
                ]
            );
        }
        mod sweep {
            crate::contract::holds!(
                crate::contract::sweep,
                $world,
                [
                    removes_what_has_expired_in_bounded_steps,
                    removes_what_has_no_view_left,
                    forgets_old_requests,
                ]
            );
        }
        mod deletions {
            crate::contract::holds!(
                crate::contract::deletions,
                $world,
                [
                    knows_what_was_deleted_and_swept_and_nothing_else,
                    what_is_taken_is_nobody_elses_until_its_time_is_over,
                    of_many_who_take_each_gets_others,
                ]
            );
        }
        crate::contract::accounts_hold!($world);
        mod page_token_keys {
            crate::contract::holds!(crate::contract::page_token_keys, $world, [has_one_key_for_good]);
        }
        mod view_totals {
            crate::contract::holds!(
                crate::contract::views,
                $world,
                [nobody_has_counted_before_the_worker_came, reads_what_the_worker_counted,]
            );
        }
        mod view_history {
            crate::contract::holds!(
                crate::contract::view_history,
                $world,
                [
                    is_all_zero_before_the_worker_came,
                    every_bucket_is_there_in_order_of_time,
                    begins_and_ends_where_the_range_does,
                    keeps_snippets_hours_and_days_apart,
                    adds_up_to_the_largest_number_at_most,
                    a_thousand_buckets_and_the_ends_of_time,
                ]
            );
        }
    };
}
pub(crate) use stores_hold;

/// Tests a world of accounts against all that their stores promise.
macro_rules! accounts_hold {
    ($world:path) => {
        mod account_store {
            crate::contract::holds!(
                crate::contract::accounts,
                $world,
                [
                    reads_back_accounts_of_every_tier,
                    finds_a_key_by_its_hash,
                    a_key_needs_an_account,
                    lists_accounts_newest_first_page_by_page,
                    an_edit_changes_what_the_patch_names,
                    an_edit_needs_an_account,
                    lists_the_keys_of_one_account_newest_first,
                    lists_all_keys_in_force_and_the_last_revoked,
                    a_hundred_keys_are_in_force_at_most,
                    of_keys_made_at_once_no_more_are_stored,
                    revoking_twice_keeps_the_first_time,
                    revoking_an_unknown_key_is_not_found,
                ]
            );
        }
    };
}
pub(crate) use accounts_hold;

/// Tests a cache against all that caches promise.
macro_rules! cache_holds {
    ($world:path) => {
        mod snippet_cache {
            crate::contract::holds!(
                crate::contract::cache,
                $world,
                [
                    returns_what_was_put,
                    keeps_snippets_apart,
                    a_newer_copy_replaces_an_older_one_and_not_the_reverse,
                    a_tombstone_replaces_older_copies_and_refuses_them,
                    a_tombstone_of_the_past_changes_nothing,
                    nothing_fills_the_place_of_what_was_deleted,
                    of_concurrent_puts_and_invalidations_the_newest_stays,
                ]
            );
        }
    };
}
pub(crate) use cache_holds;

use ::snippets::{
    domain::Granularity,
    ports::{
        AccountStore, Deletions, PageTokenKeys, SnippetLists, SnippetStore, Sweep, ViewHistory, ViewTotals,
    },
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};

/// Snippets in one fresh database.
pub trait HasSnippets: Send + Sync {
    fn snippets(&self) -> &dyn SnippetStore;
}

/// Accounts in one fresh database.
pub trait HasAccounts: Send + Sync {
    fn accounts(&self) -> &dyn AccountStore;
}

/// Stores over one fresh database.
#[async_trait]
pub trait World: HasSnippets + HasAccounts {
    fn lists(&self) -> &dyn SnippetLists;
    fn sweep(&self) -> &dyn Sweep;
    fn deletions(&self) -> &dyn Deletions;
    fn page_token_keys(&self) -> &dyn PageTokenKeys;
    fn totals(&self) -> &dyn ViewTotals;
    fn history(&self) -> &dyn ViewHistory;
    /// Makes the counter worker's tables, as its migrations do.
    async fn make_view_tables(&self);
    /// Counts the views of snippets, as the counter worker does.
    async fn count_views(&self, totals: &[(&str, i64)]);
    /// Counts the views of snippets in the buckets that begin then, as the counter worker does.
    async fn count_buckets(&self, granularity: Granularity, buckets: &[(&str, DateTime<Utc>, i64)]);
}
