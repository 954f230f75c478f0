-- additive
ALTER TABLE "requests" ADD COLUMN reserved_cost REAL;
ALTER TABLE "requests" ADD COLUMN usage_details JSONB CHECK (usage_details IS NULL OR json_valid(usage_details) AND typeof(usage_details) = 'text');
CREATE INDEX requests_reserved_cost ON "requests" (reserved_cost);
