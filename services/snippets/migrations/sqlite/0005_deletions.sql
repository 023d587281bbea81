-- Snippets that are gone, of which the counter worker has yet to be told: written by the transaction that removes them, so that
-- no process has to live on to tell it.
create table deletions (
    snippet_id text primary key,
    -- When somebody is to tell it; later while somebody is at it. In microseconds.
    due        integer not null
) strict, without rowid;

create index deletions_due on deletions (due);

-- By a trigger, so that no statement can forget it.
create trigger deletion_noted after delete on snippets
begin
    insert or ignore into deletions (snippet_id, due) values (old.id, 0);
end;
