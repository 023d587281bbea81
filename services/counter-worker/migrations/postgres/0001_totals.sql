-- How often each snippet has been viewed: the published table of this schema.
-- Every flush rewrites the rows of the hot snippets, so pages keep room for HOT updates.
CREATE TABLE views.totals (
    snippet_id text COLLATE "C" PRIMARY KEY,
    views bigint NOT NULL CHECK (views >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

-- The batches that the totals contain, kept for longer than any redelivery can take.
CREATE TABLE views.batches (
    batch_id uuid PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Old batches are deleted by age.
CREATE INDEX batches_applied_at ON views.batches (applied_at);
