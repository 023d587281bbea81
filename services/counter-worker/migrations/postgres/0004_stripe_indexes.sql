-- The primary keys to be.
DROP INDEX CONCURRENTLY IF EXISTS views.totals_by_stripe_pkey;
CREATE UNIQUE INDEX CONCURRENTLY totals_by_stripe_pkey ON views.totals (snippet_id, stripe);
DROP INDEX CONCURRENTLY IF EXISTS views.hourly_by_stripe_pkey;
CREATE UNIQUE INDEX CONCURRENTLY hourly_by_stripe_pkey ON views.hourly (snippet_id, start_time, stripe);
DROP INDEX CONCURRENTLY IF EXISTS views.daily_by_stripe_pkey;
CREATE UNIQUE INDEX CONCURRENTLY daily_by_stripe_pkey ON views.daily (snippet_id, start_time, stripe);
