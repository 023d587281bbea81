-- Of an account's keys, those that are not revoked are counted and listed, and of the others the last.
drop index concurrently if exists snippets.api_keys_account_id_revoke_time;
create index concurrently api_keys_account_id_revoke_time on snippets.api_keys (account_id, revoke_time);
drop index concurrently if exists snippets.api_keys_account_id;
