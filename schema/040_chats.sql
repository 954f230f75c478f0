-- Conversations: chats (what users see), threads (their full history in order) and messages.

-- A conversation with a model or an agent.
CREATE TABLE "chats" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  -- Unique if set.
  name TEXT,
  description TEXT,
  -- Kind of the source: chatModel or agent.
  type TEXT NOT NULL DEFAULT 'chatModel',
  -- Id of the source: a connection or an agent.
  source_id TEXT,
  model TEXT,
  -- NodeLLM's id of the provider, NULL if it has none; the connection has the details.
  provider TEXT,
  instructions TEXT,
  metadata JSONB CHECK (metadata IS NULL OR json_valid(metadata) AND typeof(metadata) = 'text'),
  -- Defaults for later turns, taken from the first: options, thinking, tools, persistence.
  settings JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(settings) AND typeof(settings) = 'text'),
  -- Time, folder and terminal of the last turn; used by `chat --continue`.
  last_turn_at DATETIME CHECK (last_turn_at GLOB '????-??-??T??:??:??.???+00:00'),
  last_turn_folder TEXT,
  last_turn_terminal BOOLEAN NOT NULL DEFAULT false CHECK (last_turn_terminal IN (0, 1)),
  -- Writer of the row: llmctl, import, or orm (another program).
  origin TEXT NOT NULL DEFAULT 'orm',
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- The chat that replaced this branch of the conversation, left behind by /undo or /retry.
  superseded_by TEXT REFERENCES "chats" (id) ON DELETE SET NULL ON UPDATE CASCADE
);
CREATE UNIQUE INDEX chats_name ON "chats" (name);
CREATE INDEX chats_created_at ON "chats" (created_at);
CREATE INDEX chats_last_turn_at ON "chats" (last_turn_at);
CREATE INDEX chats_last_turn_folder ON "chats" (last_turn_folder, last_turn_at);
CREATE INDEX chats_source_id ON "chats" (source_id);
CREATE INDEX chats_superseded_by ON "chats" (superseded_by);

-- The full history of a chat, in order. At most one job holds its lock.
CREATE TABLE "message_threads" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  chat_id TEXT REFERENCES "chats" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  locking_job_id TEXT REFERENCES "jobs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  -- The thread this one was forked from, and the last message they share.
  parent_id TEXT REFERENCES "message_threads" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  parent_seq INTEGER,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE INDEX message_threads_chat_id ON "message_threads" (chat_id);
CREATE INDEX message_threads_locking_job_id ON "message_threads" (locking_job_id);
CREATE INDEX message_threads_parent_id ON "message_threads" (parent_id);

-- A message of a thread.
CREATE TABLE "messages" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  thread_id TEXT REFERENCES "message_threads" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  -- Position in the thread, from 1.
  seq INTEGER,
  -- Set on messages users see: system, user, and the assistant message that ends a turn.
  chat_id TEXT REFERENCES "chats" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  -- system, user, assistant or tool.
  role TEXT NOT NULL,
  -- Kind of the source: system, user, chatModel, toolCall or agent.
  type TEXT,
  -- Id of the source: a connection, an agent, a tool invocation.
  source_id TEXT,
  status TEXT NOT NULL DEFAULT 'completed' CHECK (status IN ('pending', 'completed', 'incomplete', 'interrupted')),
  content TEXT,
  -- Parts of the message as provider-neutral JSON; NULL if `content` is the whole message.
  content_raw TEXT,
  -- Older name of thinking_text, for compatibility with @node-llm/orm.
  reasoning TEXT,
  thinking_text TEXT,
  thinking_signature TEXT,
  thinking_tokens INTEGER,
  -- Sums over the requests of the turn.
  input_tokens INTEGER,
  output_tokens INTEGER,
  model_id TEXT,
  provider TEXT,
  -- stop, length, tool_calls, content_filter or other.
  finish_reason TEXT,
  error TEXT,
  -- Further data from the provider: citations, reasoning details.
  metadata JSONB CHECK (metadata IS NULL OR json_valid(metadata) AND typeof(metadata) = 'text'),
  -- The job that wrote it, or is still writing it.
  job_id TEXT REFERENCES "jobs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  -- Writer of the row: llmctl, import, or orm (another program).
  origin TEXT NOT NULL DEFAULT 'orm',
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- SHA-256 of the conversation up to here, by which a proxied request finds the thread that it continues.
  prefix_hash TEXT
);
CREATE UNIQUE INDEX messages_thread_seq ON "messages" (thread_id, seq);
CREATE INDEX messages_chat_id_created_at ON "messages" (chat_id, created_at);
CREATE INDEX messages_created_at ON "messages" (created_at);
CREATE INDEX messages_job_id ON "messages" (job_id);
CREATE INDEX messages_prefix_hash ON "messages" (prefix_hash);

-- A thread as it was shown at a point in time.
CREATE TABLE "rendered_conversation_threads" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  thread_id TEXT REFERENCES "message_threads" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  -- The last message shown.
  upto_seq INTEGER,
  -- Why the snapshot was taken.
  reason TEXT,
  -- [{"type": ..., "content": ...}, ...]
  messages JSONB NOT NULL DEFAULT '[]' CHECK (json_valid(messages) AND typeof(messages) = 'text'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE INDEX rendered_conversation_threads_thread_id ON "rendered_conversation_threads" (thread_id);

-- A file attached to messages, stored once per content.
CREATE TABLE "attachments" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT,
  media_type TEXT NOT NULL,
  -- SHA-256 of the content, in hexadecimal.
  content_hash TEXT NOT NULL,
  content BLOB,
  -- Where it came from, or the URL the provider fetches.
  url TEXT,
  size INTEGER NOT NULL DEFAULT 0,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX attachments_content_hash ON "attachments" (content_hash);

-- Attachments of a message, in order.
CREATE TABLE "message_attachments" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  message_id TEXT NOT NULL REFERENCES "messages" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  attachment_id TEXT NOT NULL REFERENCES "attachments" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  position INTEGER NOT NULL DEFAULT 0,
  -- Name and type in this message, if another message has the same content under other ones.
  name TEXT,
  media_type TEXT,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX message_attachments_message_position ON "message_attachments" (message_id, position);
CREATE INDEX message_attachments_attachment_id ON "message_attachments" (attachment_id);

-- Links a chat to an agent.
CREATE TABLE "agent_sessions" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  agent_class TEXT NOT NULL,
  chat_id TEXT NOT NULL REFERENCES "chats" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  metadata JSONB CHECK (metadata IS NULL OR json_valid(metadata) AND typeof(metadata) = 'text'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- The agent's definition as it was in the last turn.
  definition JSONB CHECK (definition IS NULL OR json_valid(definition) AND typeof(definition) = 'text')
);
CREATE UNIQUE INDEX agent_sessions_chat_id ON "agent_sessions" (chat_id);
CREATE INDEX agent_sessions_agent_class ON "agent_sessions" (agent_class);
CREATE INDEX agent_sessions_created_at ON "agent_sessions" (created_at);

-- One run of a tool.
CREATE TABLE "tool_invocations" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  tool_id TEXT REFERENCES "tools" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  message_id TEXT REFERENCES "messages" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  -- Unique within the message; a repeated id of the provider gets a suffix.
  tool_call_id TEXT NOT NULL,
  -- The id as the provider gave it.
  provider_call_id TEXT,
  name TEXT NOT NULL,
  -- The arguments as the model wrote them: JSON text, valid or not.
  arguments TEXT NOT NULL,
  -- The parsed arguments.
  parameters JSONB CHECK (parameters IS NULL OR json_valid(parameters) AND typeof(parameters) = 'text'),
  result TEXT,
  status TEXT NOT NULL DEFAULT 'completed' CHECK (status IN ('pending', 'running', 'completed', 'failed', 'denied', 'cancelled')),
  error TEXT,
  text_log_id TEXT REFERENCES "text_logs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  thought TEXT,
  thought_signature TEXT,
  -- Step of the turn that made the call, from 1.
  step INTEGER,
  -- Who allowed or denied it, when and why.
  decision JSONB CHECK (decision IS NULL OR json_valid(decision) AND typeof(decision) = 'text'),
  exit_status INTEGER,
  duration INTEGER,
  started_at DATETIME CHECK (started_at GLOB '????-??-??T??:??:??.???+00:00'),
  finished_at DATETIME CHECK (finished_at GLOB '????-??-??T??:??:??.???+00:00'),
  job_id TEXT REFERENCES "jobs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  -- Writer of the row: llmctl, import, or orm (another program).
  origin TEXT NOT NULL DEFAULT 'orm',
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- The result ends the turn: it is the final answer.
  halts BOOLEAN NOT NULL DEFAULT false CHECK (halts IN (0, 1))
);
CREATE UNIQUE INDEX tool_invocations_message_call ON "tool_invocations" (message_id, tool_call_id);
CREATE INDEX tool_invocations_tool_id ON "tool_invocations" (tool_id);
CREATE INDEX tool_invocations_status ON "tool_invocations" (status);
CREATE INDEX tool_invocations_created_at ON "tool_invocations" (created_at);
CREATE INDEX tool_invocations_text_log_id ON "tool_invocations" (text_log_id);
CREATE INDEX tool_invocations_job_id ON "tool_invocations" (job_id);

-- A stored answer to a tool permission prompt.
CREATE TABLE "permission_rules" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  agent_id TEXT REFERENCES "agents" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  chat_id TEXT REFERENCES "chats" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  tool_id TEXT NOT NULL REFERENCES "tools" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  -- What the arguments must match for the rule to apply.
  arguments_rule JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(arguments_rule) AND typeof(arguments_rule) = 'text'),
  effect TEXT NOT NULL CHECK (effect IN ('allow', 'deny')),
  expires_at DATETIME CHECK (expires_at GLOB '????-??-??T??:??:??.???+00:00'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE INDEX permission_rules_tool_id ON "permission_rules" (tool_id);
CREATE INDEX permission_rules_agent_id ON "permission_rules" (agent_id);
CREATE INDEX permission_rules_chat_id ON "permission_rules" (chat_id);
