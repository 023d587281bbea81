-- Edits and deletions that the cache may not know of: written by the transaction that makes them, so that another replica tells the
-- cache where the one that wrote can't, or is gone.
create table snippets.invalidations (
    snippet_id text collate "C" primary key,
    -- Copies of older versions are outdated.
    version    bigint not null,
    -- When it is for others to tell the cache.
    due        timestamptz not null
);

create index invalidations_due on snippets.invalidations (due);

-- By a trigger, so that no statement can forget it.
create function snippets.note_invalidation() returns trigger language plpgsql as $$
begin
    insert into snippets.invalidations (snippet_id, version, due)
    values (
        old.id,
        case tg_op when 'DELETE' then old.version + 1 else new.version end,
        clock_timestamp() + interval '250 milliseconds')
    on conflict (snippet_id) do update
        set version = excluded.version, due = least(invalidations.due, excluded.due);
    return null;
end
$$;

-- What is private or has a limit of views is never cached, and of what has expired no copy is shown.
create trigger edit_noted after update on snippets.snippets
    for each row
    when (old.version <> new.version and old.visibility <> 3 and old.max_views is null)
    execute function snippets.note_invalidation();
create trigger removal_noted after delete on snippets.snippets
    for each row
    when (old.visibility <> 3 and old.max_views is null and (old.expire_time is null or old.expire_time > now()))
    execute function snippets.note_invalidation();
