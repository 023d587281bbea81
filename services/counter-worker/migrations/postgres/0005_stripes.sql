-- What is published keeps its name and shape. Workers of the version before fail from here on, and what they have taken is
-- delivered again to those of this one.
ALTER TABLE views.totals RENAME TO totals_by_stripe;
ALTER TABLE views.totals_by_stripe
    DROP CONSTRAINT totals_pkey,
    ADD CONSTRAINT totals_by_stripe_pkey PRIMARY KEY USING INDEX totals_by_stripe_pkey;

ALTER TABLE views.hourly RENAME TO hourly_by_stripe;
ALTER TABLE views.hourly_by_stripe
    DROP CONSTRAINT hourly_pkey,
    ADD CONSTRAINT hourly_by_stripe_pkey PRIMARY KEY USING INDEX hourly_by_stripe_pkey;

ALTER TABLE views.daily RENAME TO daily_by_stripe;
ALTER TABLE views.daily_by_stripe
    DROP CONSTRAINT daily_pkey,
    ADD CONSTRAINT daily_by_stripe_pkey PRIMARY KEY USING INDEX daily_by_stripe_pkey;

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
