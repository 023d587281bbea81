-- A counter may have several rows, one for each stripe, and their sum is what it counts: flushes that are committed at the
-- same time write different stripes, and do not wait for each other's rows. What is published keeps its name and shape.
ALTER TABLE views.totals RENAME TO totals_by_stripe;
ALTER TABLE views.totals_by_stripe
    ADD COLUMN stripe smallint NOT NULL DEFAULT 0,
    DROP CONSTRAINT totals_pkey,
    ADD PRIMARY KEY (snippet_id, stripe);

ALTER TABLE views.hourly RENAME TO hourly_by_stripe;
ALTER TABLE views.hourly_by_stripe
    ADD COLUMN stripe smallint NOT NULL DEFAULT 0,
    DROP CONSTRAINT hourly_pkey,
    ADD PRIMARY KEY (snippet_id, start_time, stripe);

ALTER TABLE views.daily RENAME TO daily_by_stripe;
ALTER TABLE views.daily_by_stripe
    ADD COLUMN stripe smallint NOT NULL DEFAULT 0,
    DROP CONSTRAINT daily_pkey,
    ADD PRIMARY KEY (snippet_id, start_time, stripe);

-- A sum that would overflow stops, as each of its rows does.
CREATE VIEW views.totals AS
    SELECT snippet_id, least(sum(views), 9223372036854775807)::bigint AS views, max(updated_at) AS updated_at
    FROM views.totals_by_stripe GROUP BY snippet_id;

CREATE VIEW views.hourly AS
    SELECT snippet_id, start_time, least(sum(views), 9223372036854775807)::bigint AS views
    FROM views.hourly_by_stripe GROUP BY snippet_id, start_time;

CREATE VIEW views.daily AS
    SELECT snippet_id, start_time, least(sum(views), 9223372036854775807)::bigint AS views
    FROM views.daily_by_stripe GROUP BY snippet_id, start_time;
