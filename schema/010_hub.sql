-- The hub itself: metadata, settings, metrics, logs and jobs.
-- In these files a name in double quotes is always a table; nothing else is quoted. A hub may rename any table,
-- and the program replaces exactly the quoted names.

-- Facts about this file: table and field names in use, fingerprint of the schema.
CREATE TABLE "hub_meta" (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);

-- Migrations applied to this file.
CREATE TABLE "schema_migrations" (
  version INTEGER NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  -- SHA-256 of the file that was run.
  checksum TEXT NOT NULL,
  applied_at DATETIME NOT NULL CHECK (applied_at GLOB '????-??-??T??:??:??.???+00:00')
);

-- User settings; a single row.
CREATE TABLE "user_settings" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  -- Whether the sidebar of a user interface is open.
  sidebar_open BOOLEAN NOT NULL DEFAULT true CHECK (sidebar_open IN (0, 1)),
  -- The page (or command) the user visited last.
  last_page TEXT NOT NULL DEFAULT '',
  -- The theme the user selected: system, light or dark.
  theme TEXT NOT NULL DEFAULT 'system',
  -- Whether the hub has been set up by its user.
  bootstrapped BOOLEAN NOT NULL DEFAULT false CHECK (bootstrapped IN (0, 1)),
  -- Settings of llmctl: name -> value.
  settings JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(settings) AND typeof(settings) = 'text'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);

-- A measured value, for other systems to read.
CREATE TABLE "metrics" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  -- Keys and values to group the metric by.
  dimensions JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(dimensions) AND typeof(dimensions) = 'text'),
  value REAL NOT NULL,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE INDEX metrics_name_created_at ON "metrics" (name, created_at);

-- Output of a job or a tool. Long output continues in further rows of the same series.
CREATE TABLE "text_logs" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  text TEXT NOT NULL DEFAULT '',
  -- First row of a log written in pieces; NULL on that row itself.
  series_id TEXT REFERENCES "text_logs" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  -- Position of this piece in its series, from 0.
  position INTEGER NOT NULL DEFAULT 0,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX text_logs_series_position ON "text_logs" (series_id, position);

-- A tracked job: a turn, a batch or a command.
CREATE TABLE "jobs" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  -- turn, command, batch or map.
  type TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
  text_log_id TEXT REFERENCES "text_logs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  parent_id TEXT REFERENCES "jobs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  -- Input of the job: enough to run it, or to run it again.
  payload JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(payload) AND typeof(payload) = 'text'),
  result JSONB CHECK (result IS NULL OR json_valid(result) AND typeof(result) = 'text'),
  error TEXT,
  exit_code INTEGER,
  attempts INTEGER NOT NULL DEFAULT 1,
  -- The lease: who runs the job. Here a holder is alive while its process is; on another host until the lease expires.
  host TEXT,
  pid INTEGER,
  boot_id TEXT,
  -- Start time of the process in the kernel's own units, so that a reused pid is not taken for the holder.
  process_started_at TEXT,
  lease_expires_at DATETIME CHECK (lease_expires_at GLOB '????-??-??T??:??:??.???+00:00'),
  started_at DATETIME CHECK (started_at GLOB '????-??-??T??:??:??.???+00:00'),
  finished_at DATETIME CHECK (finished_at GLOB '????-??-??T??:??:??.???+00:00'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE INDEX jobs_status ON "jobs" (status);
CREATE INDEX jobs_created_at ON "jobs" (created_at);
CREATE INDEX jobs_text_log_id ON "jobs" (text_log_id);
CREATE INDEX jobs_parent_id ON "jobs" (parent_id);
