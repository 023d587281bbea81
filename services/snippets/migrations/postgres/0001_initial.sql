-- The schema itself is made before, as the migrator keeps its own table in it.

create table snippets.accounts (
    id           uuid primary key,
    display_name text not null,
    -- As in snippets.v1.Tier.
    tier         smallint not null check (tier between 1 and 3),
    disabled     boolean not null default false,
    create_time  timestamptz not null
);

create table snippets.api_keys (
    id           uuid primary key,
    account_id   uuid not null references snippets.accounts (id),
    display_name text not null,
    -- SHA-256 of the secret, which is kept nowhere.
    hash         bytea not null unique check (octet_length(hash) = 32),
    create_time  timestamptz not null,
    expire_time  timestamptz,
    revoke_time  timestamptz
);

create index api_keys_account_id on snippets.api_keys (account_id);

create table snippets.snippets (
    -- Byte order: ids are compared as they are, whatever the database's language.
    id          text collate "C" primary key check (octet_length(id) = 11),
    title       text not null,
    language    text not null,
    body        text not null,
    tags        text[] not null,
    -- As in snippets.v1.Visibility.
    visibility  smallint not null check (visibility between 1 and 3),
    owner       uuid references snippets.accounts (id),
    create_time timestamptz not null,
    update_time timestamptz not null,
    version     bigint not null check (version >= 1)
);
