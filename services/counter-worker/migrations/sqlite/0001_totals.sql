-- How often each snippet has been viewed: the published table of this database.
CREATE TABLE totals (
    snippet_id TEXT PRIMARY KEY,
    views INTEGER NOT NULL CHECK (views >= 0),
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The batches that the totals contain, kept for longer than any redelivery can take.
CREATE TABLE batches (
    batch_id BLOB PRIMARY KEY,
    applied_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Old batches are deleted by age.
CREATE INDEX batches_applied_at ON batches (applied_at);
