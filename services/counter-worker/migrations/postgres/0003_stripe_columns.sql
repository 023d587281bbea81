-- A counter may have several rows, one for each stripe, and their sum is what it counts: flushes that are committed at the
-- same time write different stripes, and do not wait for each other's rows. A constant default rewrites no row.
ALTER TABLE views.totals ADD COLUMN stripe smallint NOT NULL DEFAULT 0;
ALTER TABLE views.hourly ADD COLUMN stripe smallint NOT NULL DEFAULT 0;
ALTER TABLE views.daily ADD COLUMN stripe smallint NOT NULL DEFAULT 0;
