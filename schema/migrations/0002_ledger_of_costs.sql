-- additive
ALTER TABLE "requests" ADD COLUMN reserved_cost REAL;
ALTER TABLE "requests" ADD COLUMN usage_details JSONB CHECK (usage_details IS NULL OR json_valid(usage_details) AND typeof(usage_details) = 'text');
CREATE INDEX requests_reserved_cost ON "requests" (reserved_cost);
CREATE INDEX requests_cost ON "requests" (cost);
CREATE INDEX requests_duration ON "requests" (duration);

-- The roll-ups by day and month, from that by hour. Its times stay rounded as they were, to two digits: once more
-- would be more than 5 %.
ALTER TABLE "usage_hourly" ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "usage_hourly" ADD COLUMN cache_savings REAL;
INSERT INTO "usage_hourly" (hour, provider, model, connection, agent, tag, status, retries)
SELECT
  substr(r.created_at, 1, 13) || ':00:00.000+00:00', lower(r.provider), coalesce(r.response_model, r.model),
  coalesce(r.connection, ''), coalesce(r.agent, ''), coalesce(r.tag, ''), r.status, sum(n.retries)
FROM (
  SELECT request_id, max(attempt) - 1 AS retries FROM "network_calls" WHERE attempt > 1 GROUP BY request_id
) n
JOIN "requests" r ON r.id = n.request_id
WHERE r.status <> 'pending'
GROUP BY 1, 2, 3, 4, 5, 6, 7
ON CONFLICT (hour, provider, model, connection, agent, tag, status) DO UPDATE SET retries = excluded.retries;
CREATE TABLE "usage_daily" (
  day DATETIME NOT NULL CHECK (day GLOB '????-??-??T??:??:??.???+00:00'),
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
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
  PRIMARY KEY (day, provider, model)
);
CREATE TABLE "usage_monthly" (
  month DATETIME NOT NULL CHECK (month GLOB '????-??-??T??:??:??.???+00:00'),
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  connection TEXT NOT NULL DEFAULT '',
  agent TEXT NOT NULL DEFAULT '',
  tag TEXT NOT NULL DEFAULT '',
  status TEXT NOT NULL,
  requests INTEGER NOT NULL DEFAULT 0,
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
  PRIMARY KEY (month, provider, model, connection, agent, tag, status)
);
CREATE TABLE "activity_daily" (
  day DATETIME NOT NULL CHECK (day GLOB '????-??-??T??:??:??.???+00:00'),
  tool TEXT NOT NULL DEFAULT '',
  messages INTEGER NOT NULL DEFAULT 0,
  tool_calls INTEGER NOT NULL DEFAULT 0,
  failed_tool_calls INTEGER NOT NULL DEFAULT 0,
  tool_duration INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (day, tool)
);
INSERT INTO "usage_daily" (
  day, provider, model,
  requests, failed_requests, input_tokens, output_tokens, cached_tokens, cache_write_tokens, thinking_tokens,
  cost, priced_requests, unpriced_requests, duration, timed_requests, first_at, last_at, retries
)
SELECT
  substr(hour, 1, 10) || 'T00:00:00.000+00:00', provider, model,
  sum(requests), sum(CASE status WHEN 'failed' THEN requests ELSE 0 END), sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(cache_write_tokens), sum(thinking_tokens),
  sum(cost), sum(priced_requests), sum(unpriced_requests), sum(duration), sum(timed_requests), min(first_at), max(last_at), sum(retries)
FROM "usage_hourly" WHERE status <> 'pending'
GROUP BY 1, provider, model;
INSERT INTO "usage_daily" (day, provider, model, duration_histogram)
SELECT day, provider, model, json_group_object(bucket, count)
FROM (
  SELECT substr(h.hour, 1, 10) || 'T00:00:00.000+00:00' AS day, h.provider, h.model, e.key AS bucket, sum(e.value) AS count
  FROM "usage_hourly" h, json_each(h.duration_histogram) e WHERE h.status <> 'pending' AND e.value <> 0
  GROUP BY 1, h.provider, h.model, e.key
)
WHERE true GROUP BY day, provider, model
ON CONFLICT (day, provider, model) DO UPDATE SET duration_histogram = excluded.duration_histogram;
INSERT INTO "usage_daily" (day, provider, model, first_token_histogram)
SELECT day, provider, model, json_group_object(bucket, count)
FROM (
  SELECT substr(h.hour, 1, 10) || 'T00:00:00.000+00:00' AS day, h.provider, h.model, e.key AS bucket, sum(e.value) AS count
  FROM "usage_hourly" h, json_each(h.first_token_histogram) e WHERE h.status <> 'pending' AND e.value <> 0
  GROUP BY 1, h.provider, h.model, e.key
)
WHERE true GROUP BY day, provider, model
ON CONFLICT (day, provider, model) DO UPDATE SET first_token_histogram = excluded.first_token_histogram;
INSERT INTO "usage_monthly" (
  month, provider, model, connection, agent, tag, status,
  requests, input_tokens, output_tokens, cached_tokens, cache_write_tokens, thinking_tokens,
  cost, priced_requests, unpriced_requests, duration, timed_requests, first_at, last_at, retries
)
SELECT
  substr(hour, 1, 7) || '-01T00:00:00.000+00:00', provider, model, connection, agent, tag, status,
  sum(requests), sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(cache_write_tokens), sum(thinking_tokens),
  sum(cost), sum(priced_requests), sum(unpriced_requests), sum(duration), sum(timed_requests), min(first_at), max(last_at), sum(retries)
FROM "usage_hourly" WHERE status <> 'pending'
GROUP BY 1, provider, model, connection, agent, tag, status;
INSERT INTO "usage_monthly" (month, provider, model, connection, agent, tag, status, duration_histogram)
SELECT month, provider, model, connection, agent, tag, status, json_group_object(bucket, count)
FROM (
  SELECT substr(h.hour, 1, 7) || '-01T00:00:00.000+00:00' AS month, h.provider, h.model, h.connection, h.agent, h.tag, h.status, e.key AS bucket, sum(e.value) AS count
  FROM "usage_hourly" h, json_each(h.duration_histogram) e WHERE h.status <> 'pending' AND e.value <> 0
  GROUP BY 1, h.provider, h.model, h.connection, h.agent, h.tag, h.status, e.key
)
WHERE true GROUP BY month, provider, model, connection, agent, tag, status
ON CONFLICT (month, provider, model, connection, agent, tag, status) DO UPDATE SET duration_histogram = excluded.duration_histogram;
INSERT INTO "usage_monthly" (month, provider, model, connection, agent, tag, status, first_token_histogram)
SELECT month, provider, model, connection, agent, tag, status, json_group_object(bucket, count)
FROM (
  SELECT substr(h.hour, 1, 7) || '-01T00:00:00.000+00:00' AS month, h.provider, h.model, h.connection, h.agent, h.tag, h.status, e.key AS bucket, sum(e.value) AS count
  FROM "usage_hourly" h, json_each(h.first_token_histogram) e WHERE h.status <> 'pending' AND e.value <> 0
  GROUP BY 1, h.provider, h.model, h.connection, h.agent, h.tag, h.status, e.key
)
WHERE true GROUP BY month, provider, model, connection, agent, tag, status
ON CONFLICT (month, provider, model, connection, agent, tag, status) DO UPDATE SET first_token_histogram = excluded.first_token_histogram;

-- What happened beside requests, from what is there.
INSERT INTO "activity_daily" (day, messages)
SELECT substr(created_at, 1, 10) || 'T00:00:00.000+00:00', count(*) FROM "messages" WHERE chat_id IS NOT NULL GROUP BY 1;
INSERT INTO "activity_daily" (day, tool, tool_calls, failed_tool_calls, tool_duration)
SELECT
  substr(created_at, 1, 10) || 'T00:00:00.000+00:00', name, count(*), sum(status = 'failed'), sum(coalesce(duration, 0))
FROM "tool_invocations" GROUP BY 1, 2;
ALTER TABLE "agents" ADD COLUMN settings JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(settings) AND typeof(settings) = 'text');
ALTER TABLE "agent_sessions" ADD COLUMN definition JSONB CHECK (definition IS NULL OR json_valid(definition) AND typeof(definition) = 'text');
ALTER TABLE "tool_invocations" ADD COLUMN halts BOOLEAN NOT NULL DEFAULT false CHECK (halts IN (0, 1));
