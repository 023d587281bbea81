-- What lists are read from. A snippet has a row for each pair of a language and a tag by which it can be looked for, an empty
-- text standing for any, so that every list is one range of an index, in the list's order. Only what can be listed has
-- rows: what is public or has an owner.
create table snippets.list_entries (
    id          text collate "C" not null,
    language    text collate "C" not null,
    tag         text collate "C" not null,
    visibility  smallint not null,
    owner       uuid,
    create_time timestamptz not null,
    -- Copied from views.totals now and then.
    views       bigint not null default 0 check (views >= 0),
    primary key (id, language, tag)
);

create index list_entries_public_newest on snippets.list_entries (tag, language, create_time, id)
    where visibility = 1;
create index list_entries_public_most_viewed on snippets.list_entries (tag, language, views, create_time, id)
    where visibility = 1;
create index list_entries_own_newest on snippets.list_entries (owner, tag, language, create_time, id)
    include (visibility) where owner is not null;
create index list_entries_own_most_viewed on snippets.list_entries (owner, tag, language, views, create_time, id)
    include (visibility) where owner is not null;

-- By triggers, so that no statement can forget it.
create function snippets.keep_list_entries() returns trigger language plpgsql as $$
declare
    counted bigint;
begin
    if tg_op <> 'INSERT' then
        select max(views) into counted from snippets.list_entries where id = old.id;
        delete from snippets.list_entries where id = old.id;
    end if;
    if tg_op <> 'DELETE' and (new.visibility = 1 or new.owner is not null) then
        insert into snippets.list_entries (id, language, tag, visibility, owner, create_time, views)
        select distinct new.id, language, tag, new.visibility, new.owner, new.create_time, coalesce(counted, 0)
        from unnest(array['', new.language]) as language, unnest(array_append(new.tags, '')) as tag;
    end if;
    return null;
end
$$;

create trigger list_inserted after insert on snippets.snippets
    for each row execute function snippets.keep_list_entries();
create trigger list_updated after update on snippets.snippets
    for each row
    when ((old.language, old.tags, old.visibility, old.owner)
        is distinct from (new.language, new.tags, new.visibility, new.owner))
    execute function snippets.keep_list_entries();
create trigger list_deleted after delete on snippets.snippets
    for each row execute function snippets.keep_list_entries();

-- How far counts of views were copied into the entries, for all replicas.
create table snippets.list_counts (
    singleton boolean primary key default true check (singleton),
    -- The snippet that was the last; empty when all were copied.
    done_to   text collate "C" not null default '',
    due       timestamptz not null default now()
);

insert into snippets.list_counts default values;
