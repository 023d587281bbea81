-- Views by the hour and by the day, in UTC, in which they were counted; times are seconds since 1970. Published, as
-- the totals are.
CREATE TABLE hourly (
    snippet_id TEXT NOT NULL,
    start_time INTEGER NOT NULL,
    views INTEGER NOT NULL CHECK (views >= 0),
    PRIMARY KEY (snippet_id, start_time)
) STRICT, WITHOUT ROWID;

CREATE TABLE daily (
    snippet_id TEXT NOT NULL,
    start_time INTEGER NOT NULL,
    views INTEGER NOT NULL CHECK (views >= 0),
    PRIMARY KEY (snippet_id, start_time)
) STRICT, WITHOUT ROWID;

-- Old hours are deleted by age; days are kept for as long as their snippet.
CREATE INDEX hourly_start_time ON hourly (start_time);

-- Snippets that are gone: whatever still comes of them is dropped.
CREATE TABLE deleted (
    snippet_id TEXT PRIMARY KEY,
    deleted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX deleted_deleted_at ON deleted (deleted_at);

-- How far the batches' ids were forgotten: of an older one that is not there nobody knows whether it was counted.
CREATE TABLE pruned (
    singleton INTEGER PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    batches_to BLOB
) STRICT;

INSERT INTO pruned (batches_to) VALUES (NULL);

-- The ids of batches begin with their time, so the primary key finds the old ones.
DROP INDEX batches_applied_at;
