-- Triggers: rules that hold for every writer.

-- History is immutable: a finished message never changes. Only `db scrub` may replace a secret in it.
CREATE TRIGGER messages_frozen
BEFORE UPDATE OF role, content, content_raw, reasoning, thinking_text, thinking_signature ON "messages"
WHEN OLD.status <> 'pending'
  AND (OLD.role, OLD.content, OLD.content_raw, OLD.reasoning, OLD.thinking_text, OLD.thinking_signature)
    IS NOT (NEW.role, NEW.content, NEW.content_raw, NEW.reasoning, NEW.thinking_text, NEW.thinking_signature)
  AND NOT EXISTS (SELECT 1 FROM "hub_meta" WHERE key = 'scrubbing')
BEGIN
  SELECT RAISE (ABORT, 'a finished message cannot be changed');
END;

-- A row of another program only names its chat: give it a thread, a position in it, a unique time and a status.
CREATE TRIGGER messages_adopted AFTER INSERT ON "messages"
WHEN NEW.origin = 'orm' AND NEW.thread_id IS NULL AND NEW.chat_id IS NOT NULL
BEGIN
  INSERT INTO "message_threads" (id, chat_id)
  SELECT
    lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
      || substr('89AB', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))),
    NEW.chat_id
  WHERE NOT EXISTS (SELECT 1 FROM "message_threads" WHERE chat_id = NEW.chat_id);

  UPDATE "messages" SET
    thread_id = (SELECT id FROM "message_threads" WHERE chat_id = NEW.chat_id ORDER BY rowid LIMIT 1),
    seq = 1 + coalesce((
      SELECT max(seq) FROM "messages"
      WHERE thread_id = (SELECT id FROM "message_threads" WHERE chat_id = NEW.chat_id ORDER BY rowid LIMIT 1)
    ), 0),
    type = coalesce(NEW.type, CASE NEW.role WHEN 'assistant' THEN 'chatModel' WHEN 'tool' THEN 'toolCall' ELSE NEW.role END),
    status = CASE WHEN NEW.role = 'assistant' AND NEW.content IS NULL THEN 'pending' ELSE NEW.status END,
    created_at = max(NEW.created_at, coalesce((
      SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', max(created_at), '+0.001 seconds') FROM "messages"
      WHERE chat_id = NEW.chat_id AND id <> NEW.id
    ), NEW.created_at))
  WHERE id = NEW.id;
END;

-- Another program fills in its placeholder: mark the message as completed.
CREATE TRIGGER messages_adopted_finish AFTER UPDATE OF content ON "messages"
WHEN NEW.origin = 'orm' AND OLD.status = 'pending' AND NEW.status = 'pending' AND NEW.content IS NOT NULL
BEGIN
  UPDATE "messages" SET status = 'completed' WHERE id = NEW.id;
END;

-- Roll-ups. A request counts from the moment it is finished: each of these triggers says what to add or subtract.
CREATE VIEW usage_changes AS
SELECT
  1 AS sign, r.id, r.created_at, r.provider, r.model, r.response_model, r.connection, r.agent, r.tag, r.status, r.origin,
  r.input_tokens, r.output_tokens, r.cached_tokens, r.cache_write_tokens, r.thinking_tokens, r.cost, r.price_id,
  r.duration, r.time_to_first_token, r.script, r.folder, r.message_id, r.cached_from, r.saved_cost, '' AS tool
FROM "requests" r WHERE false;

CREATE TRIGGER requests_usage_insert AFTER INSERT ON "requests"
WHEN NEW.status <> 'pending'
BEGIN
  INSERT INTO usage_changes VALUES (
    1,
    NEW.id, NEW.created_at, NEW.provider, NEW.model, NEW.response_model, NEW.connection, NEW.agent, NEW.tag,
    NEW.status, NEW.origin, NEW.input_tokens, NEW.output_tokens, NEW.cached_tokens, NEW.cache_write_tokens,
    NEW.thinking_tokens, NEW.cost, NEW.price_id, NEW.duration, NEW.time_to_first_token,
    NEW.script, NEW.folder, NEW.message_id, NEW.cached_from, NEW.saved_cost, NULL
  );
END;

CREATE TRIGGER requests_usage_finish AFTER UPDATE OF status ON "requests"
WHEN OLD.status = 'pending' AND NEW.status <> 'pending'
BEGIN
  INSERT INTO usage_changes VALUES (
    1,
    NEW.id, NEW.created_at, NEW.provider, NEW.model, NEW.response_model, NEW.connection, NEW.agent, NEW.tag,
    NEW.status, NEW.origin, NEW.input_tokens, NEW.output_tokens, NEW.cached_tokens, NEW.cache_write_tokens,
    NEW.thinking_tokens, NEW.cost, NEW.price_id, NEW.duration, NEW.time_to_first_token,
    NEW.script, NEW.folder, NEW.message_id, NEW.cached_from, NEW.saved_cost, NULL
  );
END;

CREATE TRIGGER requests_usage_correct AFTER UPDATE OF
  status, provider, model, response_model, connection, agent, tag, created_at,
  input_tokens, output_tokens, cached_tokens, cache_write_tokens, thinking_tokens,
  cost, price_id, duration, time_to_first_token, script, folder, cached_from, saved_cost
ON "requests"
WHEN OLD.status <> 'pending'
BEGIN
  INSERT INTO usage_changes VALUES (
    -1,
    OLD.id, OLD.created_at, OLD.provider, OLD.model, OLD.response_model, OLD.connection, OLD.agent, OLD.tag,
    OLD.status, OLD.origin, OLD.input_tokens, OLD.output_tokens, OLD.cached_tokens, OLD.cache_write_tokens,
    OLD.thinking_tokens, OLD.cost, OLD.price_id, OLD.duration, OLD.time_to_first_token,
    OLD.script, OLD.folder, OLD.message_id, OLD.cached_from, OLD.saved_cost, NULL
  );
  INSERT INTO usage_changes SELECT
    1,
    NEW.id, NEW.created_at, NEW.provider, NEW.model, NEW.response_model, NEW.connection, NEW.agent, NEW.tag,
    NEW.status, NEW.origin, NEW.input_tokens, NEW.output_tokens, NEW.cached_tokens, NEW.cache_write_tokens,
    NEW.thinking_tokens, NEW.cost, NEW.price_id, NEW.duration, NEW.time_to_first_token,
    NEW.script, NEW.folder, NEW.message_id, NEW.cached_from, NEW.saved_cost, NULL
  WHERE NEW.status <> 'pending';
END;

-- The tools that a request called are known after its end: it counts for each of them once, no longer for none.
CREATE TRIGGER tool_invocations_usage_insert AFTER INSERT ON "tool_invocations"
WHEN NEW.message_id IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM "tool_invocations" WHERE message_id = NEW.message_id AND name = NEW.name AND id <> NEW.id
)
BEGIN
  INSERT INTO usage_changes SELECT
    -1,
    r.id, r.created_at, r.provider, r.model, r.response_model, r.connection, r.agent, r.tag,
    r.status, r.origin, r.input_tokens, r.output_tokens, r.cached_tokens, r.cache_write_tokens,
    r.thinking_tokens, r.cost, r.price_id, r.duration, r.time_to_first_token,
    r.script, r.folder, r.message_id, r.cached_from, r.saved_cost, ''
  FROM "requests" r WHERE r.message_id = NEW.message_id AND r.status <> 'pending'
    AND NOT EXISTS (SELECT 1 FROM "tool_invocations" WHERE message_id = NEW.message_id AND id <> NEW.id);
  INSERT INTO usage_changes SELECT
    1,
    r.id, r.created_at, r.provider, r.model, r.response_model, r.connection, r.agent, r.tag,
    r.status, r.origin, r.input_tokens, r.output_tokens, r.cached_tokens, r.cache_write_tokens,
    r.thinking_tokens, r.cost, r.price_id, r.duration, r.time_to_first_token,
    r.script, r.folder, r.message_id, r.cached_from, r.saved_cost, NEW.name
  FROM "requests" r WHERE r.message_id = NEW.message_id AND r.status <> 'pending';
END;

-- What a request adds to the totals. Cost 0 and duration 0 of other programs mean unknown. Cache savings are what the
-- tokens would have cost as plain input, minus the extra cost of cache writes. Times are rounded by 5 % at most, to 35
-- values per decade: 10, 11 ... 20, 22 ... 40, 44 ... 100.
CREATE VIEW usage_deltas AS
SELECT
  1 AS sign, h.first_at AS created_at, h.provider, h.model, h.connection, h.agent, h.tag, h.status,
  h.input_tokens, h.output_tokens, h.cached_tokens, h.cache_write_tokens, h.thinking_tokens,
  h.cost, h.priced_requests, h.unpriced_requests, h.duration, h.timed_requests, h.retries, h.cache_savings,
  '' AS duration_bucket, '' AS first_token_bucket,
  '' AS script, '' AS folder, '' AS message_id, h.cached_requests, h.saved_cost, '' AS tool
FROM "usage_hourly" h WHERE false;

CREATE TRIGGER usage_changes_read INSTEAD OF INSERT ON usage_changes
BEGIN
  INSERT INTO usage_deltas VALUES (
    NEW.sign, NEW.created_at, lower(NEW.provider), coalesce(NEW.response_model, NEW.model),
    coalesce(NEW.connection, ''), coalesce(NEW.agent, ''), coalesce(NEW.tag, ''), NEW.status,
    NEW.sign * coalesce(NEW.input_tokens, 0),
    NEW.sign * coalesce(NEW.output_tokens, 0),
    NEW.sign * coalesce(NEW.cached_tokens, 0),
    NEW.sign * coalesce(NEW.cache_write_tokens, 0),
    NEW.sign * coalesce(NEW.thinking_tokens, 0),
    NEW.sign * coalesce(nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END), 0),
    NEW.sign * (nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END) IS NOT NULL),
    NEW.sign * (nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END) IS NULL
      AND (NEW.status <> 'failed' OR coalesce(NEW.input_tokens, 0) + coalesce(NEW.output_tokens, 0) > 0)),
    NEW.sign * coalesce(NEW.duration, 0),
    NEW.sign * (coalesce(NEW.duration, 0) > 0),
    NEW.sign * coalesce((SELECT max(n.attempt) - 1 FROM "network_calls" n WHERE n.request_id = NEW.id), 0),
    NEW.sign * (
      SELECT
        CASE WHEN NEW.cached_tokens > 0 THEN NEW.cached_tokens * (p.input_per_million - p.cached_per_million) / 1e6 ELSE 0 END
        - coalesce(NEW.cache_write_tokens * (p.cache_write_per_million - p.input_per_million) / 1e6, 0)
      FROM "model_prices" p WHERE p.id = NEW.price_id
    ),
    (
      SELECT ((ms + step / 2) / step * step) || '' FROM (
        SELECT ms, unit * (1 + (ms >= 20 * unit) + 2 * (ms >= 40 * unit)) AS step FROM (
          SELECT ms, max(1, CAST(substr('1000000000000000', 1, length(ms) - 1) AS INTEGER)) AS unit
          FROM (SELECT CAST(NEW.duration AS INTEGER) AS ms) WHERE ms > 0
        )
      )
    ),
    (
      SELECT ((ms + step / 2) / step * step) || '' FROM (
        SELECT ms, unit * (1 + (ms >= 20 * unit) + 2 * (ms >= 40 * unit)) AS step FROM (
          SELECT ms, max(1, CAST(substr('1000000000000000', 1, length(ms) - 1) AS INTEGER)) AS unit
          FROM (SELECT CAST(NEW.time_to_first_token AS INTEGER) AS ms) WHERE ms > 0
        )
      )
    ),
    coalesce(NEW.script, ''), coalesce(NEW.folder, ''), NEW.message_id,
    NEW.sign * (NEW.cached_from IS NOT NULL), NEW.sign * coalesce(NEW.saved_cost, 0), NEW.tool
  );
END;

-- Activity. Messages count while users see them, or if users saw them when their chat was deleted.
CREATE TRIGGER messages_activity_insert AFTER INSERT ON "messages"
WHEN NEW.chat_id IS NOT NULL
BEGIN
  INSERT INTO "activity_daily" (day, messages) VALUES (substr(NEW.created_at, 1, 10) || 'T00:00:00.000+00:00', 1)
  ON CONFLICT (day, tool) DO UPDATE SET messages = messages + 1;
END;

CREATE TRIGGER messages_activity_update AFTER UPDATE OF chat_id, created_at ON "messages"
WHEN (OLD.chat_id IS NULL, substr(OLD.created_at, 1, 10)) <> (NEW.chat_id IS NULL, substr(NEW.created_at, 1, 10))
BEGIN
  INSERT INTO "activity_daily" (day, messages)
  VALUES (substr(OLD.created_at, 1, 10) || 'T00:00:00.000+00:00', -(OLD.chat_id IS NOT NULL))
  ON CONFLICT (day, tool) DO UPDATE SET messages = messages + excluded.messages;
  INSERT INTO "activity_daily" (day, messages)
  VALUES (substr(NEW.created_at, 1, 10) || 'T00:00:00.000+00:00', NEW.chat_id IS NOT NULL)
  ON CONFLICT (day, tool) DO UPDATE SET messages = messages + excluded.messages;
END;

-- A placeholder that never became an answer does not count as a message.
CREATE TRIGGER messages_activity_delete AFTER DELETE ON "messages"
WHEN OLD.status = 'pending' AND OLD.chat_id IS NOT NULL
BEGIN
  UPDATE "activity_daily" SET messages = messages - 1
  WHERE day = substr(OLD.created_at, 1, 10) || 'T00:00:00.000+00:00' AND tool = '';
END;

CREATE TRIGGER tool_invocations_activity_insert AFTER INSERT ON "tool_invocations"
BEGIN
  INSERT INTO "activity_daily" (day, tool, tool_calls, failed_tool_calls, tool_duration) VALUES (
    substr(NEW.created_at, 1, 10) || 'T00:00:00.000+00:00', NEW.name, 1, NEW.status = 'failed', coalesce(NEW.duration, 0)
  ) ON CONFLICT (day, tool) DO UPDATE SET
    tool_calls = tool_calls + 1,
    failed_tool_calls = failed_tool_calls + excluded.failed_tool_calls,
    tool_duration = tool_duration + excluded.tool_duration;
END;

-- A call without a name shares its row with the messages of the day.
CREATE TRIGGER tool_invocations_activity_update AFTER UPDATE OF name, status, duration, created_at ON "tool_invocations"
BEGIN
  INSERT INTO "activity_daily" (day, tool, tool_calls, failed_tool_calls, tool_duration) VALUES (
    substr(OLD.created_at, 1, 10) || 'T00:00:00.000+00:00', OLD.name, -1, -(OLD.status = 'failed'), -coalesce(OLD.duration, 0)
  ) ON CONFLICT (day, tool) DO UPDATE SET
    tool_calls = tool_calls - 1,
    failed_tool_calls = failed_tool_calls + excluded.failed_tool_calls,
    tool_duration = tool_duration + excluded.tool_duration;
  DELETE FROM "activity_daily"
  WHERE day = substr(OLD.created_at, 1, 10) || 'T00:00:00.000+00:00' AND tool = OLD.name AND tool_calls = 0 AND messages = 0;
  INSERT INTO "activity_daily" (day, tool, tool_calls, failed_tool_calls, tool_duration) VALUES (
    substr(NEW.created_at, 1, 10) || 'T00:00:00.000+00:00', NEW.name, 1, NEW.status = 'failed', coalesce(NEW.duration, 0)
  ) ON CONFLICT (day, tool) DO UPDATE SET
    tool_calls = tool_calls + 1,
    failed_tool_calls = failed_tool_calls + excluded.failed_tool_calls,
    tool_duration = tool_duration + excluded.tool_duration;
END;

-- Parts of HTTP bodies that no call refers to any more are deleted.
CREATE TRIGGER network_calls_body_delete AFTER DELETE ON "network_calls"
WHEN OLD.shared_body_id IS NOT NULL
BEGIN
  DELETE FROM "bodies" WHERE id = OLD.shared_body_id
    AND NOT EXISTS (SELECT 1 FROM "network_calls" WHERE shared_body_id = OLD.shared_body_id);
END;

CREATE TRIGGER network_calls_body_update AFTER UPDATE OF shared_body_id ON "network_calls"
WHEN OLD.shared_body_id IS NOT NULL AND NEW.shared_body_id IS NOT OLD.shared_body_id
BEGIN
  DELETE FROM "bodies" WHERE id = OLD.shared_body_id
    AND NOT EXISTS (SELECT 1 FROM "network_calls" WHERE shared_body_id = OLD.shared_body_id);
END;
