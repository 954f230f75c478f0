-- Rules that hold whoever writes.

-- History is never modified: what a finished message says stays. Only `db scrub` may replace a secret in it.
CREATE TRIGGER messages_frozen
BEFORE UPDATE OF role, content, content_raw, reasoning, thinking_text, thinking_signature ON "messages"
WHEN OLD.status <> 'pending'
  AND (OLD.role, OLD.content, OLD.content_raw, OLD.reasoning, OLD.thinking_text, OLD.thinking_signature)
    IS NOT (NEW.role, NEW.content, NEW.content_raw, NEW.reasoning, NEW.thinking_text, NEW.thinking_signature)
  AND NOT EXISTS (SELECT 1 FROM "hub_meta" WHERE key = 'scrubbing')
BEGIN
  SELECT RAISE (ABORT, 'a finished message cannot be changed');
END;

-- A row of another program names its chat only: give it a thread, a place in it, a time of its own, a status.
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

-- Another program fills its placeholder: the message is finished.
CREATE TRIGGER messages_adopted_finish AFTER UPDATE OF content ON "messages"
WHEN NEW.origin = 'orm' AND OLD.status = 'pending' AND NEW.status = 'pending' AND NEW.content IS NOT NULL
BEGIN
  UPDATE "messages" SET status = 'completed' WHERE id = NEW.id;
END;

-- The roll-up. A request counts from the moment it is finished; other programs' cost 0 and duration 0 mean unknown.
CREATE TRIGGER requests_usage_insert AFTER INSERT ON "requests"
WHEN NEW.status <> 'pending'
BEGIN
  INSERT INTO "usage_hourly" (
    hour, provider, model, connection, agent, tag, status, requests,
    input_tokens, output_tokens, cached_tokens, cache_write_tokens, thinking_tokens,
    cost, priced_requests, unpriced_requests, duration, timed_requests,
    duration_histogram, first_token_histogram, first_at, last_at
  ) VALUES (
    strftime('%Y-%m-%dT%H:00:00.000+00:00', NEW.created_at), lower(NEW.provider), coalesce(NEW.response_model, NEW.model),
    coalesce(NEW.connection, ''), coalesce(NEW.agent, ''), coalesce(NEW.tag, ''), NEW.status, 1,
    coalesce(NEW.input_tokens, 0), coalesce(NEW.output_tokens, 0), coalesce(NEW.cached_tokens, 0), coalesce(NEW.cache_write_tokens, 0), coalesce(NEW.thinking_tokens, 0),
    coalesce(nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END), 0), nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END) IS NOT NULL, nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END) IS NULL AND (NEW.status <> 'failed' OR coalesce(NEW.input_tokens, 0) + coalesce(NEW.output_tokens, 0) > 0),
    coalesce(NEW.duration, 0), coalesce(NEW.duration, 0) > 0,
    CASE WHEN NEW.duration > 0 THEN json_object(CAST(CAST(printf('%.1e', NEW.duration) AS REAL) AS INTEGER) || '', 1) ELSE '{}' END,
    CASE WHEN NEW.time_to_first_token > 0 THEN json_object(CAST(CAST(printf('%.1e', NEW.time_to_first_token) AS REAL) AS INTEGER) || '', 1) ELSE '{}' END,
    NEW.created_at, NEW.created_at
  ) ON CONFLICT (hour, provider, model, connection, agent, tag, status) DO UPDATE SET
    requests = requests + 1,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
    thinking_tokens = thinking_tokens + excluded.thinking_tokens,
    cost = cost + excluded.cost,
    priced_requests = priced_requests + excluded.priced_requests,
    unpriced_requests = unpriced_requests + excluded.unpriced_requests,
    duration = duration + excluded.duration,
    timed_requests = timed_requests + excluded.timed_requests,
    duration_histogram = CASE WHEN NEW.duration > 0 THEN json_set(
      duration_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.duration) AS REAL) AS INTEGER) || '"',
      coalesce(json_extract(duration_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.duration) AS REAL) AS INTEGER) || '"'), 0) + 1
    ) ELSE duration_histogram END,
    first_token_histogram = CASE WHEN NEW.time_to_first_token > 0 THEN json_set(
      first_token_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.time_to_first_token) AS REAL) AS INTEGER) || '"',
      coalesce(json_extract(first_token_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.time_to_first_token) AS REAL) AS INTEGER) || '"'), 0) + 1
    ) ELSE first_token_histogram END,
    first_at = min(first_at, excluded.first_at),
    last_at = max(last_at, excluded.last_at);
END;

CREATE TRIGGER requests_usage_finish AFTER UPDATE OF status ON "requests"
WHEN OLD.status = 'pending' AND NEW.status <> 'pending'
BEGIN
  INSERT INTO "usage_hourly" (
    hour, provider, model, connection, agent, tag, status, requests,
    input_tokens, output_tokens, cached_tokens, cache_write_tokens, thinking_tokens,
    cost, priced_requests, unpriced_requests, duration, timed_requests,
    duration_histogram, first_token_histogram, first_at, last_at
  ) VALUES (
    strftime('%Y-%m-%dT%H:00:00.000+00:00', NEW.created_at), lower(NEW.provider), coalesce(NEW.response_model, NEW.model),
    coalesce(NEW.connection, ''), coalesce(NEW.agent, ''), coalesce(NEW.tag, ''), NEW.status, 1,
    coalesce(NEW.input_tokens, 0), coalesce(NEW.output_tokens, 0), coalesce(NEW.cached_tokens, 0), coalesce(NEW.cache_write_tokens, 0), coalesce(NEW.thinking_tokens, 0),
    coalesce(nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END), 0), nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END) IS NOT NULL, nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END) IS NULL AND (NEW.status <> 'failed' OR coalesce(NEW.input_tokens, 0) + coalesce(NEW.output_tokens, 0) > 0),
    coalesce(NEW.duration, 0), coalesce(NEW.duration, 0) > 0,
    CASE WHEN NEW.duration > 0 THEN json_object(CAST(CAST(printf('%.1e', NEW.duration) AS REAL) AS INTEGER) || '', 1) ELSE '{}' END,
    CASE WHEN NEW.time_to_first_token > 0 THEN json_object(CAST(CAST(printf('%.1e', NEW.time_to_first_token) AS REAL) AS INTEGER) || '', 1) ELSE '{}' END,
    NEW.created_at, NEW.created_at
  ) ON CONFLICT (hour, provider, model, connection, agent, tag, status) DO UPDATE SET
    requests = requests + 1,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
    thinking_tokens = thinking_tokens + excluded.thinking_tokens,
    cost = cost + excluded.cost,
    priced_requests = priced_requests + excluded.priced_requests,
    unpriced_requests = unpriced_requests + excluded.unpriced_requests,
    duration = duration + excluded.duration,
    timed_requests = timed_requests + excluded.timed_requests,
    duration_histogram = CASE WHEN NEW.duration > 0 THEN json_set(
      duration_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.duration) AS REAL) AS INTEGER) || '"',
      coalesce(json_extract(duration_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.duration) AS REAL) AS INTEGER) || '"'), 0) + 1
    ) ELSE duration_histogram END,
    first_token_histogram = CASE WHEN NEW.time_to_first_token > 0 THEN json_set(
      first_token_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.time_to_first_token) AS REAL) AS INTEGER) || '"',
      coalesce(json_extract(first_token_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.time_to_first_token) AS REAL) AS INTEGER) || '"'), 0) + 1
    ) ELSE first_token_histogram END,
    first_at = min(first_at, excluded.first_at),
    last_at = max(last_at, excluded.last_at);
END;

CREATE TRIGGER requests_usage_correct AFTER UPDATE OF
  status, provider, model, response_model, connection, agent, tag, created_at,
  input_tokens, output_tokens, cached_tokens, cache_write_tokens, thinking_tokens, cost, duration, time_to_first_token
ON "requests"
WHEN OLD.status <> 'pending'
BEGIN
  UPDATE "usage_hourly" SET
    requests = requests - 1,
    input_tokens = input_tokens - coalesce(OLD.input_tokens, 0),
    output_tokens = output_tokens - coalesce(OLD.output_tokens, 0),
    cached_tokens = cached_tokens - coalesce(OLD.cached_tokens, 0),
    cache_write_tokens = cache_write_tokens - coalesce(OLD.cache_write_tokens, 0),
    thinking_tokens = thinking_tokens - coalesce(OLD.thinking_tokens, 0),
    cost = cost - coalesce(nullif(OLD.cost, CASE OLD.origin WHEN 'orm' THEN 0 END), 0),
    priced_requests = priced_requests - (nullif(OLD.cost, CASE OLD.origin WHEN 'orm' THEN 0 END) IS NOT NULL),
    unpriced_requests = unpriced_requests - (nullif(OLD.cost, CASE OLD.origin WHEN 'orm' THEN 0 END) IS NULL AND (OLD.status <> 'failed' OR coalesce(OLD.input_tokens, 0) + coalesce(OLD.output_tokens, 0) > 0)),
    duration = duration - coalesce(OLD.duration, 0),
    timed_requests = timed_requests - (coalesce(OLD.duration, 0) > 0),
    duration_histogram = CASE WHEN OLD.duration > 0 THEN json_set(
      duration_histogram, '$."' || CAST(CAST(printf('%.1e', OLD.duration) AS REAL) AS INTEGER) || '"',
      json_extract(duration_histogram, '$."' || CAST(CAST(printf('%.1e', OLD.duration) AS REAL) AS INTEGER) || '"') - 1
    ) ELSE duration_histogram END,
    first_token_histogram = CASE WHEN OLD.time_to_first_token > 0 THEN json_set(
      first_token_histogram, '$."' || CAST(CAST(printf('%.1e', OLD.time_to_first_token) AS REAL) AS INTEGER) || '"',
      json_extract(first_token_histogram, '$."' || CAST(CAST(printf('%.1e', OLD.time_to_first_token) AS REAL) AS INTEGER) || '"') - 1
    ) ELSE first_token_histogram END
  WHERE (hour, provider, model, connection, agent, tag, status) = (
    strftime('%Y-%m-%dT%H:00:00.000+00:00', OLD.created_at), lower(OLD.provider), coalesce(OLD.response_model, OLD.model),
    coalesce(OLD.connection, ''), coalesce(OLD.agent, ''), coalesce(OLD.tag, ''), OLD.status
  );
  DELETE FROM "usage_hourly" WHERE requests = 0 AND (hour, provider, model, connection, agent, tag, status) = (
    strftime('%Y-%m-%dT%H:00:00.000+00:00', OLD.created_at), lower(OLD.provider), coalesce(OLD.response_model, OLD.model),
    coalesce(OLD.connection, ''), coalesce(OLD.agent, ''), coalesce(OLD.tag, ''), OLD.status
  );

  INSERT INTO "usage_hourly" (
    hour, provider, model, connection, agent, tag, status, requests,
    input_tokens, output_tokens, cached_tokens, cache_write_tokens, thinking_tokens,
    cost, priced_requests, unpriced_requests, duration, timed_requests,
    duration_histogram, first_token_histogram, first_at, last_at
  ) VALUES (
    strftime('%Y-%m-%dT%H:00:00.000+00:00', NEW.created_at), lower(NEW.provider), coalesce(NEW.response_model, NEW.model),
    coalesce(NEW.connection, ''), coalesce(NEW.agent, ''), coalesce(NEW.tag, ''), NEW.status, 1,
    coalesce(NEW.input_tokens, 0), coalesce(NEW.output_tokens, 0), coalesce(NEW.cached_tokens, 0), coalesce(NEW.cache_write_tokens, 0), coalesce(NEW.thinking_tokens, 0),
    coalesce(nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END), 0), nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END) IS NOT NULL, nullif(NEW.cost, CASE NEW.origin WHEN 'orm' THEN 0 END) IS NULL AND (NEW.status <> 'failed' OR coalesce(NEW.input_tokens, 0) + coalesce(NEW.output_tokens, 0) > 0),
    coalesce(NEW.duration, 0), coalesce(NEW.duration, 0) > 0,
    CASE WHEN NEW.duration > 0 THEN json_object(CAST(CAST(printf('%.1e', NEW.duration) AS REAL) AS INTEGER) || '', 1) ELSE '{}' END,
    CASE WHEN NEW.time_to_first_token > 0 THEN json_object(CAST(CAST(printf('%.1e', NEW.time_to_first_token) AS REAL) AS INTEGER) || '', 1) ELSE '{}' END,
    NEW.created_at, NEW.created_at
  ) ON CONFLICT (hour, provider, model, connection, agent, tag, status) DO UPDATE SET
    requests = requests + 1,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
    thinking_tokens = thinking_tokens + excluded.thinking_tokens,
    cost = cost + excluded.cost,
    priced_requests = priced_requests + excluded.priced_requests,
    unpriced_requests = unpriced_requests + excluded.unpriced_requests,
    duration = duration + excluded.duration,
    timed_requests = timed_requests + excluded.timed_requests,
    duration_histogram = CASE WHEN NEW.duration > 0 THEN json_set(
      duration_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.duration) AS REAL) AS INTEGER) || '"',
      coalesce(json_extract(duration_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.duration) AS REAL) AS INTEGER) || '"'), 0) + 1
    ) ELSE duration_histogram END,
    first_token_histogram = CASE WHEN NEW.time_to_first_token > 0 THEN json_set(
      first_token_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.time_to_first_token) AS REAL) AS INTEGER) || '"',
      coalesce(json_extract(first_token_histogram, '$."' || CAST(CAST(printf('%.1e', NEW.time_to_first_token) AS REAL) AS INTEGER) || '"'), 0) + 1
    ) ELSE first_token_histogram END,
    first_at = min(first_at, excluded.first_at),
    last_at = max(last_at, excluded.last_at);
END;
