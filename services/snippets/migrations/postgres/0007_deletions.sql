-- Snippets that are gone, of which the counter worker has yet to be told: written by the transaction that removes them, so that
-- no process has to live on to tell it.
create table snippets.deletions (
    snippet_id text collate "C" primary key,
    -- When somebody is to tell it; later while somebody is at it.
    due        timestamptz not null default now()
);

create index deletions_due on snippets.deletions (due);

-- By a trigger, so that no statement can forget it.
create function snippets.note_deletion() returns trigger language plpgsql as $$
begin
    insert into snippets.deletions (snippet_id) values (old.id) on conflict do nothing;
    return null;
end
$$;

create trigger deletion_noted after delete on snippets.snippets
    for each row execute function snippets.note_deletion();
