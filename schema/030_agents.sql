-- Tools, and agents built on connections.

-- A tool that a model or a person can run.
CREATE TABLE "tools" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  description TEXT,
  -- command, python, http, mcp, nextJsScript or builtin.
  type TEXT NOT NULL,
  -- JSON Schema of the arguments.
  schema JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(schema) AND typeof(schema) = 'text'),
  -- How to run it.
  data JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(data) AND typeof(data) = 'text'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX tools_name ON "tools" (name);

-- An agent: instructions, options and tools on top of a connection.
CREATE TABLE "agents" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  description TEXT,
  chat_model_id TEXT REFERENCES "model_connections" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  instructions TEXT,
  options JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(options) AND typeof(options) = 'text'),
  -- The file the definition was read from.
  source_file TEXT,
  -- Fingerprint of the definition.
  version_hash TEXT,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- Rest of the definition: model, thinking, max_steps, sub-agents, the class it was written as.
  settings JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(settings) AND typeof(settings) = 'text')
);
CREATE UNIQUE INDEX agents_name ON "agents" (name);
CREATE INDEX agents_chat_model_id ON "agents" (chat_model_id);

-- Tools an agent may use, and with which permission.
CREATE TABLE "agent_tool_connections" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  agent_id TEXT NOT NULL REFERENCES "agents" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  tool_id TEXT NOT NULL REFERENCES "tools" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  permission TEXT NOT NULL DEFAULT 'user-permitted' CHECK (permission IN ('automatic', 'user-permitted', 'denied')),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX agent_tool_connections_agent_tool ON "agent_tool_connections" (agent_id, tool_id);
CREATE INDEX agent_tool_connections_tool_id ON "agent_tool_connections" (tool_id);
