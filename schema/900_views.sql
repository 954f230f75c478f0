-- Views for `llmctl db query`: stable names, whatever the tables are called. Columns may be added, never renamed.
-- Cost 0 and duration 0 in rows of other programs mean unknown: here they are NULL.

-- Chats with their totals, one row per chat.
CREATE VIEW v_chats AS
SELECT
  c.id,
  c.name,
  c.description,
  c.type,
  k.name AS connection,
  a.name AS agent,
  c.model,
  c.created_at,
  c.last_turn_at,
  (SELECT count(*) FROM "messages" m WHERE m.chat_id = c.id) AS messages,
  (SELECT count(*) FROM "messages" m WHERE m.chat_id = c.id AND m.role = 'user') AS turns,
  (SELECT count(*) FROM "requests" r WHERE r.chat_id = c.id) AS requests,
  (SELECT sum(r.input_tokens) FROM "requests" r WHERE r.chat_id = c.id) AS input_tokens,
  (SELECT sum(r.output_tokens) FROM "requests" r WHERE r.chat_id = c.id) AS output_tokens,
  (SELECT sum(nullif(r.cost, CASE r.origin WHEN 'orm' THEN 0 END)) FROM "requests" r WHERE r.chat_id = c.id) AS cost
FROM "chats" c
LEFT JOIN "model_connections" k ON c.type <> 'agent' AND k.id = c.source_id
LEFT JOIN "agents" a ON c.type = 'agent' AND a.id = c.source_id;

-- Messages that users see, in order.
CREATE VIEW v_messages AS
SELECT
  m.id,
  m.chat_id,
  c.name AS chat,
  m.seq,
  m.role,
  m.status,
  m.content,
  m.thinking_text,
  m.model_id AS model,
  m.provider,
  m.input_tokens,
  m.output_tokens,
  m.finish_reason,
  m.error,
  m.created_at
FROM "messages" m
JOIN "chats" c ON c.id = m.chat_id;

-- All messages of a thread, including intermediate steps and tool results.
CREATE VIEW v_thread_messages AS
SELECT
  m.id,
  m.thread_id,
  t.chat_id,
  m.seq,
  m.role,
  m.type,
  m.status,
  m.content,
  m.content_raw,
  m.created_at
FROM "messages" m
JOIN "message_threads" t ON t.id = m.thread_id;

-- The ledger, one row per request.
CREATE VIEW v_requests AS
SELECT
  r.id,
  r.chat_id,
  c.name AS chat,
  r.message_id,
  r.type,
  r.provider,
  r.model,
  r.response_model,
  r.connection,
  r.agent,
  r.status,
  r.status_code,
  nullif(r.duration, CASE r.origin WHEN 'orm' THEN 0 END) AS duration_ms,
  r.time_to_first_token AS time_to_first_token_ms,
  r.input_tokens,
  r.output_tokens,
  r.cached_tokens,
  r.cache_write_tokens,
  r.thinking_tokens,
  nullif(r.cost, CASE r.origin WHEN 'orm' THEN 0 END) AS cost,
  r.finish_reason,
  r.error_code,
  r.error_reason,
  r.error,
  r.tag,
  r.script,
  r.folder,
  r.host,
  (SELECT count(*) FROM "network_calls" n WHERE n.request_id = r.id) AS attempts,
  r.created_at,
  r.cached_from,
  r.saved_cost,
  r.processing,
  r.app,
  r.project,
  r.client,
  r.billing,
  r.list_cost
FROM "requests" r
LEFT JOIN "chats" c ON c.id = r.chat_id;

-- HTTP attempts.
CREATE VIEW v_network_calls AS
SELECT
  n.id,
  n.request_id,
  r.chat_id,
  n.attempt,
  n.method,
  n.endpoint,
  n.status,
  n.status_code,
  n.duration AS duration_ms,
  n.time_to_first_byte AS time_to_first_byte_ms,
  n.provider_request_id,
  n.error,
  n.created_at
FROM "network_calls" n
LEFT JOIN "requests" r ON r.id = n.request_id;

-- Tool calls by models and people.
CREATE VIEW v_tool_calls AS
SELECT
  i.id,
  m.thread_id,
  t.chat_id,
  i.name,
  i.tool_call_id,
  i.arguments,
  i.result,
  i.status,
  i.error,
  i.duration AS duration_ms,
  i.created_at
FROM "tool_invocations" i
LEFT JOIN "messages" m ON m.id = i.message_id
LEFT JOIN "message_threads" t ON t.id = m.thread_id;

-- Totals by UTC hour.
CREATE VIEW v_usage AS
SELECT
  hour,
  provider,
  model,
  nullif(connection, '') AS connection,
  nullif(agent, '') AS agent,
  nullif(tag, '') AS tag,
  status,
  requests,
  input_tokens,
  output_tokens,
  cached_tokens,
  cache_write_tokens,
  thinking_tokens,
  CASE WHEN priced_requests > 0 THEN cost END AS cost,
  unpriced_requests,
  duration AS duration_ms
FROM "usage_hourly";

-- Jobs.
CREATE VIEW v_jobs AS
SELECT id, name, type, status, error, exit_code, attempts, host, pid, started_at, finished_at, created_at
FROM "jobs";

-- Model connections. SQLite before 3.41 allows json_each in the views of an untrusted schema, but not json_extract.
CREATE VIEW v_connections AS
SELECT
  id,
  name,
  description,
  provider,
  model_id AS model,
  type,
  (SELECT value FROM json_each(data) WHERE key = 'base_url') AS base_url,
  created_at
FROM "model_connections";
