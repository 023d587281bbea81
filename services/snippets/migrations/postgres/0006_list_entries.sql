-- The entries of snippets that were there before the triggers. Locked, so that nobody changes them between reading and writing;
-- what the triggers have written meanwhile stays.
with batch as materialized (
    select id from snippets.snippets where id > $1 order by id limit $2
), snippet as materialized (
    select id, language, tags, visibility, owner, create_time from snippets.snippets
    where id in (select id from batch) order by id for share
), filled as (
    insert into snippets.list_entries (id, language, tag, visibility, owner, create_time)
    select distinct snippet.id, entry.language, entry.tag, snippet.visibility, snippet.owner, snippet.create_time
    from snippet, lateral (
        select language, tag
        from unnest(array['', snippet.language]) as language, unnest(array_append(snippet.tags, '')) as tag
    ) as entry
    where snippet.visibility = 1 or snippet.owner is not null
    on conflict do nothing
)
select max(id) from batch
