-- The hub itself: what it is, how it is set, what it measures.
-- In these files a name in double quotes is always a table; nothing else is quoted. A hub may give any table
-- another name, and the program exchanges exactly the quoted ones.

-- Facts about this file: table and field names in use, the schema's fingerprint.
CREATE TABLE "hub_meta" (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);

-- Migrations that were applied to this file.
CREATE TABLE "schema_migrations" (
  version INTEGER NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  -- SHA-256 of the file that was run.
  checksum TEXT NOT NULL,
  applied_at DATETIME NOT NULL CHECK (applied_at GLOB '????-??-??T??:??:??.???+00:00')
);

-- One row: what the user chose.
CREATE TABLE "user_settings" (
  id TEXT NOT NULL PRIMARY KEY,
  -- Other records this one points to: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  -- Whether the sidebar of a user interface is open.
  sidebar_open BOOLEAN NOT NULL DEFAULT true CHECK (sidebar_open IN (0, 1)),
  -- The page (or command) the user was on last.
  last_page TEXT NOT NULL DEFAULT '',
  -- The theme the user selected: system, light or dark.
  theme TEXT NOT NULL DEFAULT 'system',
  -- Whether the hub has been set up by its user.
  bootstrapped BOOLEAN NOT NULL DEFAULT false CHECK (bootstrapped IN (0, 1)),
  -- Settings of llmctl's own: name -> value.
  settings JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(settings) AND typeof(settings) = 'text'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);

-- A number measured at a time, for other systems to read.
CREATE TABLE "metrics" (
  id TEXT NOT NULL PRIMARY KEY,
  -- Other records this one points to: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  -- Keys and values to group the metric by.
  dimensions JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(dimensions) AND typeof(dimensions) = 'text'),
  value REAL NOT NULL,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE INDEX metrics_name_created_at ON "metrics" (name, created_at);

-- Text that a job or a tool wrote. Long output is continued in further rows of the same series.
CREATE TABLE "text_logs" (
  id TEXT NOT NULL PRIMARY KEY,
  -- Other records this one points to: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  text TEXT NOT NULL DEFAULT '',
  -- The first row of a log that was written in pieces; NULL on that first row.
  series_id TEXT REFERENCES "text_logs" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  -- Place of this piece in its series, from 0.
  position INTEGER NOT NULL DEFAULT 0,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX text_logs_series_position ON "text_logs" (series_id, position);

-- Tracked work: a turn, a batch, a command.
CREATE TABLE "jobs" (
  id TEXT NOT NULL PRIMARY KEY,
  -- Other records this one points to: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  -- What kind of work, in a word: turn, command, batch.
  type TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
  text_log_id TEXT REFERENCES "text_logs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  parent_id TEXT REFERENCES "jobs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  -- What the work needs to be done, or done again.
  payload JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(payload) AND typeof(payload) = 'text'),
  result JSONB CHECK (result IS NULL OR json_valid(result) AND typeof(result) = 'text'),
  error TEXT,
  exit_code INTEGER,
  attempts INTEGER NOT NULL DEFAULT 1,
  -- The lease: who works on it. A holder on this host is alive while its process is; elsewhere until the lease ends.
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
