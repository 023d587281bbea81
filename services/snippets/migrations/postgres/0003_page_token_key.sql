-- The key of page tokens: one row, which all replicas share and which outlives them.
create table snippets.page_token_key (
    singleton boolean primary key default true check (singleton),
    key       bytea not null check (octet_length(key) = 32)
);

-- From the server's strong random numbers: 244 of the 256 bits, as a UUID has 6 fixed ones.
insert into snippets.page_token_key (key) values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
