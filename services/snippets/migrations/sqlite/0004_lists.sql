-- What lists are read from. A snippet has a row for each pair of a language and a tag by which it can be looked for, an empty
-- text standing for any, so that every list is one range of an index, in the list's order. Only what can be listed has
-- rows: what is public or has an owner.
create table list_entries (
    id          text not null,
    language    text not null,
    tag         text not null,
    visibility  integer not null,
    owner       text,
    create_time integer not null,
    -- Copied from totals in views.db now and then.
    views       integer not null default 0 check (views >= 0),
    primary key (id, language, tag)
) strict, without rowid;

create index list_entries_public_newest on list_entries (tag, language, create_time, id) where visibility = 1;
create index list_entries_public_most_viewed on list_entries (tag, language, views, create_time, id)
    where visibility = 1;
create index list_entries_own_newest on list_entries (owner, tag, language, create_time, id, visibility)
    where owner is not null;
create index list_entries_own_most_viewed on list_entries (owner, tag, language, views, create_time, id, visibility)
    where owner is not null;

-- By triggers, so that no statement can forget it.
create trigger list_inserted after insert on snippets
when new.visibility = 1 or new.owner is not null
begin
    insert into list_entries (id, language, tag, visibility, owner, create_time)
    select distinct new.id, language.value, tag.value, new.visibility, new.owner, new.create_time
    from json_each(json_array('', new.language)) as language, json_each(json_insert(new.tags, '$[#]', '')) as tag;
end;

create trigger list_updated after update of language, tags, visibility, owner on snippets
when (old.language, old.tags, old.visibility, old.owner) is not (new.language, new.tags, new.visibility, new.owner)
begin
    update list_entries set visibility = new.visibility, owner = new.owner where id = new.id;
    insert or ignore into list_entries (id, language, tag, visibility, owner, create_time, views)
    select distinct new.id, language.value, tag.value, new.visibility, new.owner, new.create_time,
        coalesce((select max(views) from list_entries where id = new.id), 0)
    from json_each(json_array('', new.language)) as language, json_each(json_insert(new.tags, '$[#]', '')) as tag;
    delete from list_entries where id = new.id and (
        (new.visibility <> 1 and new.owner is null)
        or language not in ('', new.language)
        or tag not in (select value from json_each(json_insert(new.tags, '$[#]', '')))
    );
end;

create trigger list_deleted after delete on snippets
begin
    delete from list_entries where id = old.id;
end;

insert into list_entries (id, language, tag, visibility, owner, create_time)
select distinct snippets.id, language.value, tag.value, visibility, owner, create_time
from snippets, json_each(json_array('', snippets.language)) as language,
    json_each(json_insert(snippets.tags, '$[#]', '')) as tag
where visibility = 1 or owner is not null;
