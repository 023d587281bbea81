-- The key of page tokens: one row, which outlives the process.
create table page_token_key (
    singleton integer primary key default 1 check (singleton = 1),
    key       blob not null check (length(key) = 32)
) strict;

insert into page_token_key (key) values (randomblob(32));

-- Of an account's keys, those that are not revoked are counted and listed, and of the others the last.
create index api_keys_account_id_revoke_time on api_keys (account_id, revoke_time);
drop index api_keys_account_id;
