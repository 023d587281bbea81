-- Snippets that end: at a time, or with their last view.
alter table snippets.snippets
    add column expire_time timestamptz,
    add column max_views bigint check (max_views >= 1),
    -- How many of those were given out: each reader takes one before it sees the body.
    add column claimed_views bigint not null default 0 check (claimed_views between 0 and max_views or max_views is null);

-- What is to be swept away.
create index snippets_expire_time on snippets.snippets (expire_time) where expire_time is not null;
create index snippets_burnt on snippets.snippets (id) where claimed_views >= max_views;

-- Which snippet a create has made, so that its repetition gives the same one.
create table snippets.create_requests (
    -- An account, or an anonymous caller's address.
    caller       text collate "C" not null,
    request_id   uuid not null,
    -- SHA-256 of what was to be made.
    payload_hash bytea not null check (octet_length(payload_hash) = 32),
    snippet_id   text collate "C" not null,
    create_time  timestamptz not null,
    primary key (caller, request_id)
);

create index create_requests_create_time on snippets.create_requests (create_time);
