-- Times are microseconds since the Unix epoch, UUIDs are text, lists are JSON.

create table accounts (
    id           text primary key,
    display_name text not null,
    -- As in snippets.v1.Tier.
    tier         integer not null check (tier between 1 and 3),
    disabled     integer not null default false,
    create_time  integer not null
) strict;

create table api_keys (
    id           text primary key,
    account_id   text not null references accounts (id),
    display_name text not null,
    -- SHA-256 of the secret, which is kept nowhere.
    hash         blob not null unique check (length(hash) = 32),
    create_time  integer not null,
    expire_time  integer,
    revoke_time  integer
) strict;

create index api_keys_account_id on api_keys (account_id);

create table snippets (
    id          text primary key check (length(id) = 11),
    title       text not null,
    language    text not null,
    body        text not null,
    tags        text not null check (json_valid(tags)),
    -- As in snippets.v1.Visibility.
    visibility  integer not null check (visibility between 1 and 3),
    owner       text references accounts (id),
    create_time integer not null,
    update_time integer not null,
    version     integer not null check (version >= 1)
) strict;
