-- Model connections, prices and aliases.

-- A named way to reach a model.
CREATE TABLE "model_connections" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  description TEXT,
  provider TEXT NOT NULL,
  -- The provider's id of the model; NULL until one is chosen.
  model_id TEXT,
  type TEXT NOT NULL DEFAULT 'chat' CHECK (type IN ('chat', 'embedding', 'image', 'audio', 'moderation')),
  -- base_url, wire, key (a reference, never a value), headers, options.
  data JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(data) AND typeof(data) = 'text'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX model_connections_name ON "model_connections" (name);

-- Price of a model from a date on, in US dollars per million tokens. Requests refer to the row they were priced by.
CREATE TABLE "model_prices" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  -- Where the price comes from: a data set and its version, or the user.
  source TEXT NOT NULL,
  input_per_million REAL,
  output_per_million REAL,
  cached_per_million REAL,
  cache_write_per_million REAL,
  thinking_per_million REAL,
  -- Tiers, batch rates and other units.
  details JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(details) AND typeof(details) = 'text'),
  valid_from DATETIME CHECK (valid_from GLOB '????-??-??T??:??:??.???+00:00'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE INDEX model_prices_model ON "model_prices" (provider, model, valid_from);

-- A user-defined name for a model, with options.
CREATE TABLE "model_aliases" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  description TEXT,
  -- A connection, CONNECTION:MODEL or a model id.
  target TEXT NOT NULL,
  options JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(options) AND typeof(options) = 'text'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX model_aliases_name ON "model_aliases" (name);
