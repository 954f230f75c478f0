-- additive
ALTER TABLE "requests" ADD COLUMN project TEXT;
ALTER TABLE "requests" ADD COLUMN client TEXT;
ALTER TABLE "requests" ADD COLUMN session_key TEXT;
ALTER TABLE "requests" ADD COLUMN billing TEXT;
ALTER TABLE "requests" ADD COLUMN list_cost REAL;
CREATE INDEX requests_session_key ON "requests" (session_key);
ALTER TABLE "messages" ADD COLUMN prefix_hash TEXT;
CREATE INDEX messages_prefix_hash ON "messages" (prefix_hash);
CREATE TABLE "proxy_apps" (
  id TEXT NOT NULL PRIMARY KEY,
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  key_hash TEXT,
  connection TEXT,
  models TEXT,
  max_cost_day REAL,
  max_cost_month REAL,
  no_log BOOLEAN NOT NULL DEFAULT false CHECK (no_log IN (0, 1)),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX proxy_apps_name ON "proxy_apps" (name);
CREATE UNIQUE INDEX proxy_apps_key_hash ON "proxy_apps" (key_hash);
