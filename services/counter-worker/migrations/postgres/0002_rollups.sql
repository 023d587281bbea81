-- Views by the hour and by the day, in UTC, in which they were counted. Published, as the totals are.
-- Every flush rewrites the rows of the hot snippets, so pages keep room for HOT updates.
CREATE TABLE views.hourly (
    snippet_id text COLLATE "C" NOT NULL,
    start_time timestamptz NOT NULL,
    views bigint NOT NULL CHECK (views >= 0),
    PRIMARY KEY (snippet_id, start_time)
) WITH (fillfactor = 80);

CREATE TABLE views.daily (
    snippet_id text COLLATE "C" NOT NULL,
    start_time timestamptz NOT NULL,
    views bigint NOT NULL CHECK (views >= 0),
    PRIMARY KEY (snippet_id, start_time)
) WITH (fillfactor = 80);

-- Old hours are deleted by age; days are kept for as long as their snippet.
CREATE INDEX hourly_start_time ON views.hourly (start_time);

-- Snippets that are gone: whatever still comes of them is dropped.
CREATE TABLE views.deleted (
    snippet_id text COLLATE "C" PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX deleted_deleted_at ON views.deleted (deleted_at);

-- How far the batches' ids were forgotten: of an older one that is not there nobody knows whether it was counted.
CREATE TABLE views.pruned (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    batches_to uuid
);

INSERT INTO views.pruned (batches_to) VALUES (NULL);

-- The ids of batches begin with their time, so the primary key finds the old ones.
DROP INDEX views.batches_applied_at;
