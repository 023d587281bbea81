-- Snippets that end: at a time, or with their last view.
alter table snippets add column expire_time integer;
alter table snippets add column max_views integer check (max_views >= 1);
-- How many of those were given out: each reader takes one before it sees the body.
alter table snippets add column claimed_views integer not null default 0
    check (claimed_views between 0 and max_views or max_views is null);

-- What is to be swept away.
create index snippets_expire_time on snippets (expire_time) where expire_time is not null;
create index snippets_burnt on snippets (id) where claimed_views >= max_views;

-- Which snippet a create has made, so that its repetition gives the same one.
create table create_requests (
    -- An account, or an anonymous caller's address.
    caller       text not null,
    request_id   text not null,
    -- SHA-256 of what was to be made.
    payload_hash blob not null check (length(payload_hash) = 32),
    snippet_id   text not null,
    create_time  integer not null,
    primary key (caller, request_id)
) strict;

create index create_requests_create_time on create_requests (create_time);
