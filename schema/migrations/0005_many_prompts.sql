-- additive
ALTER TABLE "requests" ADD COLUMN cache_key TEXT;
ALTER TABLE "requests" ADD COLUMN cached_from TEXT;
ALTER TABLE "requests" ADD COLUMN saved_cost REAL;
ALTER TABLE "requests" ADD COLUMN processing TEXT;
ALTER TABLE "requests" ADD COLUMN app TEXT;
CREATE INDEX requests_cache_key ON "requests" (cache_key);
ALTER TABLE "response_streams" ADD COLUMN raw_output_gz BLOB;
CREATE TABLE "bodies" (
  id INTEGER NOT NULL PRIMARY KEY,
  hash TEXT NOT NULL,
  text TEXT,
  text_gz BLOB
);
CREATE UNIQUE INDEX bodies_hash ON "bodies" (hash);
ALTER TABLE "network_calls" ADD COLUMN shared_body_id INTEGER REFERENCES "bodies" (id) ON DELETE SET NULL ON UPDATE CASCADE;
CREATE INDEX network_calls_shared_body_id ON "network_calls" (shared_body_id);
CREATE TABLE "provider_batches" (
  id TEXT NOT NULL PRIMARY KEY,
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  job_id TEXT REFERENCES "jobs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  connection TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT,
  marker TEXT NOT NULL,
  remote_id TEXT,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'submitting', 'running', 'cancelling', 'completed', 'failed', 'expired', 'cancelled')),
  remote_status TEXT,
  counts JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(counts) AND typeof(counts) = 'text'),
  files JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(files) AND typeof(files) = 'text'),
  error TEXT,
  submitted_at DATETIME CHECK (submitted_at GLOB '????-??-??T??:??:??.???+00:00'),
  expires_at DATETIME CHECK (expires_at GLOB '????-??-??T??:??:??.???+00:00'),
  finished_at DATETIME CHECK (finished_at GLOB '????-??-??T??:??:??.???+00:00'),
  fetched_at DATETIME CHECK (fetched_at GLOB '????-??-??T??:??:??.???+00:00'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX provider_batches_marker ON "provider_batches" (marker);
CREATE INDEX provider_batches_job_id ON "provider_batches" (job_id);
CREATE INDEX provider_batches_status ON "provider_batches" (status);
CREATE TABLE "map_items" (
  id TEXT NOT NULL PRIMARY KEY,
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  job_id TEXT NOT NULL REFERENCES "jobs" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  position INTEGER NOT NULL,
  custom_id TEXT NOT NULL,
  input_hash TEXT NOT NULL,
  input JSONB CHECK (input IS NULL OR json_valid(input) AND typeof(input) = 'text'),
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'submitted', 'completed', 'failed', 'cancelled')),
  request_id TEXT REFERENCES "requests" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  batch_id TEXT REFERENCES "provider_batches" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  attempts INTEGER NOT NULL DEFAULT 0,
  error_code TEXT,
  error TEXT,
  output TEXT,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX map_items_job_position ON "map_items" (job_id, position);
CREATE UNIQUE INDEX map_items_job_custom_id ON "map_items" (job_id, custom_id);
CREATE INDEX map_items_request_id ON "map_items" (request_id);
CREATE INDEX map_items_batch_id ON "map_items" (batch_id);
ALTER TABLE "usage_hourly" ADD COLUMN cached_requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "usage_hourly" ADD COLUMN saved_cost REAL NOT NULL DEFAULT 0;
ALTER TABLE "usage_daily" ADD COLUMN cached_requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "usage_daily" ADD COLUMN saved_cost REAL NOT NULL DEFAULT 0;
ALTER TABLE "usage_monthly" ADD COLUMN cached_requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "usage_monthly" ADD COLUMN saved_cost REAL NOT NULL DEFAULT 0;
CREATE TABLE "usage_labels" (
  unit TEXT NOT NULL CHECK (unit IN ('day', 'month')),
  period DATETIME NOT NULL CHECK (period GLOB '????-??-??T??:??:??.???+00:00'),
  kind TEXT NOT NULL CHECK (kind IN ('tool', 'script', 'folder')),
  label TEXT NOT NULL DEFAULT '',
  requests INTEGER NOT NULL DEFAULT 0,
  failed_requests INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  cached_tokens INTEGER NOT NULL DEFAULT 0,
  cache_write_tokens INTEGER NOT NULL DEFAULT 0,
  thinking_tokens INTEGER NOT NULL DEFAULT 0,
  cost REAL NOT NULL DEFAULT 0,
  priced_requests INTEGER NOT NULL DEFAULT 0,
  unpriced_requests INTEGER NOT NULL DEFAULT 0,
  duration INTEGER NOT NULL DEFAULT 0,
  timed_requests INTEGER NOT NULL DEFAULT 0,
  duration_histogram JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(duration_histogram) AND typeof(duration_histogram) = 'text'),
  first_token_histogram JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(first_token_histogram) AND typeof(first_token_histogram) = 'text'),
  first_at DATETIME CHECK (first_at GLOB '????-??-??T??:??:??.???+00:00'),
  last_at DATETIME CHECK (last_at GLOB '????-??-??T??:??:??.???+00:00'),
  retries INTEGER NOT NULL DEFAULT 0,
  cache_savings REAL,
  cached_requests INTEGER NOT NULL DEFAULT 0,
  saved_cost REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (unit, period, kind, label)
);
-- Days before this one are counted by `db migrate`, from the last to the first.
INSERT INTO "hub_meta" (key, value)
SELECT 'labels_from', strftime('"%Y-%m-%dT00:00:00.000+00:00"', 'now', '+1 day')
WHERE EXISTS (SELECT 1 FROM "requests");
