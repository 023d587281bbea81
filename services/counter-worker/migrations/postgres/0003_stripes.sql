-- A counter may have several rows, one for each stripe, and their sum is what it counts: flushes that are committed at the
-- same time write different stripes, and do not wait for each other's rows.
ALTER TABLE views.totals
    ADD COLUMN stripe smallint NOT NULL DEFAULT 0,
    DROP CONSTRAINT totals_pkey,
    ADD PRIMARY KEY (snippet_id, stripe);

ALTER TABLE views.hourly
    ADD COLUMN stripe smallint NOT NULL DEFAULT 0,
    DROP CONSTRAINT hourly_pkey,
    ADD PRIMARY KEY (snippet_id, start_time, stripe);

ALTER TABLE views.daily
    ADD COLUMN stripe smallint NOT NULL DEFAULT 0,
    DROP CONSTRAINT daily_pkey,
    ADD PRIMARY KEY (snippet_id, start_time, stripe);
