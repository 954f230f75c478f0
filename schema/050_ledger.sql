-- The ledger of requests to providers. Deleting other records never deletes these rows.

-- One request to a model, written before it is sent: the ledger.
CREATE TABLE "requests" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  chat_id TEXT REFERENCES "chats" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  thread_id TEXT REFERENCES "message_threads" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  message_id TEXT REFERENCES "messages" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  job_id TEXT REFERENCES "jobs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  session_id TEXT REFERENCES "agent_sessions" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  -- The kind of model: chat, embedding, image, audio, moderation.
  type TEXT NOT NULL DEFAULT 'chat',
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  -- The model that answered, if the provider names another one.
  response_model TEXT,
  -- Names at the time of the request; they outlive the connection and the agent.
  connection TEXT,
  agent TEXT,
  agent_version TEXT,
  status TEXT NOT NULL DEFAULT 'completed' CHECK (status IN ('pending', 'completed', 'failed', 'incomplete', 'interrupted')),
  status_code INTEGER,
  -- Milliseconds from the first attempt to the end.
  duration INTEGER,
  -- Milliseconds from the first attempt to the first text, thinking or tool call.
  time_to_first_token INTEGER,
  -- Tokens: input counts cached ones too, output counts thinking.
  input_tokens INTEGER,
  output_tokens INTEGER,
  cached_tokens INTEGER,
  cache_write_tokens INTEGER,
  thinking_tokens INTEGER,
  -- US dollars; NULL if the price is unknown.
  cost REAL,
  price_id TEXT REFERENCES "model_prices" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  -- How often the answer was sent back because it did not match the schema.
  correction_rounds INTEGER,
  -- Step of the turn, from 1.
  step INTEGER,
  finish_reason TEXT,
  -- Exit-code name, detailed reason and message of the error.
  error_code TEXT,
  error_reason TEXT,
  error TEXT,
  -- The provider's id of the answer.
  response_id TEXT,
  -- The request without its text: options, thinking, schema, tools, seqs of the messages.
  parameters JSONB CHECK (parameters IS NULL OR json_valid(parameters) AND typeof(parameters) = 'text'),
  tag TEXT,
  -- The caller: parent program, working folder, git commit, host.
  script TEXT,
  folder TEXT,
  git_commit TEXT,
  host TEXT,
  -- Writer of the row: llmctl, import, or orm (another program).
  origin TEXT NOT NULL DEFAULT 'orm',
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- US dollars reserved while the request runs under a cost limit: the most it may cost. A smaller amount stays
  -- reserved if the answer was interrupted and its cost is unknown.
  reserved_cost REAL,
  -- Separately priced token counts, and other units used: unit -> number.
  usage_details JSONB CHECK (usage_details IS NULL OR json_valid(usage_details) AND typeof(usage_details) = 'text'),
  -- The answer's identity: requests with the same key have the same answer. NULL if it may not be used again.
  cache_key TEXT,
  -- The request whose answer was used, if this one was answered from the cache.
  cached_from TEXT,
  -- US dollars that the cached answer would have cost.
  saved_cost REAL,
  -- How the provider processed it if not at once: batch. Its price depends on it.
  processing TEXT,
  -- The program that sent it through the proxy.
  app TEXT,
  -- The repository, or the folder where there is none, that the request belongs to.
  project TEXT,
  -- Name and version of the program that sent it, as it calls itself.
  client TEXT,
  -- The conversation, as the program that sent it calls it.
  session_key TEXT,
  -- How it is paid if not by the token: subscription. Then its cost is 0.
  billing TEXT,
  -- US dollars that it would have cost by the token.
  list_cost REAL
);
CREATE INDEX requests_chat_id ON "requests" (chat_id);
CREATE INDEX requests_thread_id ON "requests" (thread_id);
CREATE INDEX requests_message_id ON "requests" (message_id);
CREATE INDEX requests_job_id ON "requests" (job_id);
CREATE INDEX requests_session_id ON "requests" (session_id);
CREATE INDEX requests_price_id ON "requests" (price_id);
CREATE INDEX requests_created_at ON "requests" (created_at);
CREATE INDEX requests_reserved_cost ON "requests" (reserved_cost);
CREATE INDEX requests_cost ON "requests" (cost);
CREATE INDEX requests_duration ON "requests" (duration);
CREATE INDEX requests_cache_key ON "requests" (cache_key);
CREATE INDEX requests_session_key ON "requests" (session_key);

-- Parts of HTTP bodies, such as system prompts and tools: stored once, however many calls sent them.
CREATE TABLE "bodies" (
  id INTEGER NOT NULL PRIMARY KEY,
  -- SHA-256 of the text.
  hash TEXT NOT NULL,
  -- {"key": value} or {"key/index": value} by place in the body; NULL if it is kept compressed.
  text TEXT,
  -- The same, compressed with gzip.
  text_gz BLOB
);
CREATE UNIQUE INDEX bodies_hash ON "bodies" (hash);

-- One HTTP attempt of a request, without secrets.
CREATE TABLE "network_calls" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  request_id TEXT REFERENCES "requests" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  job_id TEXT REFERENCES "jobs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  attempt INTEGER NOT NULL DEFAULT 1,
  endpoint TEXT NOT NULL,
  method TEXT NOT NULL,
  -- The body without the messages that an earlier call of the thread already sent.
  body TEXT,
  -- Number of messages omitted at the beginning.
  omitted_messages INTEGER NOT NULL DEFAULT 0,
  -- SHA-256 of the body as it was sent.
  body_hash TEXT,
  -- The response if it was an error; other responses are in response_streams.
  response TEXT,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'success', 'error')),
  status_code INTEGER,
  request_headers JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(request_headers) AND typeof(request_headers) = 'text'),
  response_headers JSONB CHECK (response_headers IS NULL OR json_valid(response_headers) AND typeof(response_headers) = 'text'),
  -- Milliseconds until the end of the response, and until its first byte.
  duration INTEGER,
  time_to_first_byte INTEGER,
  -- The provider's id of the call, from its headers.
  provider_request_id TEXT,
  error TEXT,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- The parts of the body that are kept in bodies; null stands in their places here.
  shared_body_id INTEGER REFERENCES "bodies" (id) ON DELETE SET NULL ON UPDATE CASCADE
);
CREATE INDEX network_calls_request_id ON "network_calls" (request_id, attempt);
CREATE INDEX network_calls_job_id ON "network_calls" (job_id);
CREATE INDEX network_calls_created_at ON "network_calls" (created_at);
CREATE INDEX network_calls_shared_body_id ON "network_calls" (shared_body_id);

-- Output of a model, as received. Outlives the message.
CREATE TABLE "response_streams" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  -- Id of the model's connection.
  source_id TEXT,
  message_id TEXT REFERENCES "messages" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  request_id TEXT REFERENCES "requests" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  -- Protocol and dialect, and whether it is a stream or one document.
  format JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(format) AND typeof(format) = 'text'),
  -- The messages it contained: [{"id", "type", "content", "thinking", "tool_calls": [{"id", "name", "arguments"}]}];
  -- thinking and tool_calls only where there are some.
  result_messages JSONB NOT NULL DEFAULT '[]' CHECK (json_valid(result_messages) AND typeof(result_messages) = 'text'),
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'completed', 'failed', 'incomplete', 'interrupted')),
  raw_output TEXT,
  -- Arrival times: [[offset in bytes, milliseconds since the request], ...].
  timeline JSONB NOT NULL DEFAULT '[]' CHECK (json_valid(timeline) AND typeof(timeline) = 'text'),
  last_flushed_at DATETIME CHECK (last_flushed_at GLOB '????-??-??T??:??:??.???+00:00'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- raw_output of a finished stream longer than 1 kB, compressed with gzip; raw_output is NULL then.
  raw_output_gz BLOB
);
CREATE INDEX response_streams_message_id ON "response_streams" (message_id);
CREATE INDEX response_streams_request_id ON "response_streams" (request_id);

-- Bytes of a running stream, as read. When the stream ends they are joined and deleted.
CREATE TABLE "stream_chunks" (
  stream_id TEXT NOT NULL REFERENCES "response_streams" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  seq INTEGER NOT NULL,
  -- Milliseconds since the request began.
  elapsed INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (stream_id, seq)
);

-- A program that may use the proxy, and what it may cost.
CREATE TABLE "proxy_apps" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  name TEXT NOT NULL,
  -- SHA-256 of the key that the program sends in place of a provider's; NULL if it has none.
  key_hash TEXT,
  -- Name of the connection that its requests go to.
  connection TEXT,
  -- Glob pattern of the models that it may use; NULL: all.
  models TEXT,
  -- US dollars.
  max_cost_day REAL,
  max_cost_month REAL,
  -- No text of its requests is kept.
  no_log BOOLEAN NOT NULL DEFAULT false CHECK (no_log IN (0, 1)),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX proxy_apps_name ON "proxy_apps" (name);
CREATE UNIQUE INDEX proxy_apps_key_hash ON "proxy_apps" (key_hash);

-- A batch of requests at a provider, written before it is submitted.
CREATE TABLE "provider_batches" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  job_id TEXT REFERENCES "jobs" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  -- Name of the connection; it outlives the connection.
  connection TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT,
  -- Sent along in the provider's metadata, to find the batch again after a crash.
  marker TEXT NOT NULL,
  -- The provider's id of the batch; NULL until it has answered.
  remote_id TEXT,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'submitting', 'running', 'cancelling', 'completed', 'failed', 'expired', 'cancelled')),
  -- The provider's own word.
  remote_status TEXT,
  -- Requests by status: total, completed, failed and others of the provider.
  counts JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(counts) AND typeof(counts) = 'text'),
  -- Ids of the provider's files: input, output, error.
  files JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(files) AND typeof(files) = 'text'),
  error TEXT,
  submitted_at DATETIME CHECK (submitted_at GLOB '????-??-??T??:??:??.???+00:00'),
  expires_at DATETIME CHECK (expires_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- When the provider finished it, and when its results were taken in.
  finished_at DATETIME CHECK (finished_at GLOB '????-??-??T??:??:??.???+00:00'),
  fetched_at DATETIME CHECK (fetched_at GLOB '????-??-??T??:??:??.???+00:00'),
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX provider_batches_marker ON "provider_batches" (marker);
CREATE INDEX provider_batches_job_id ON "provider_batches" (job_id);
CREATE INDEX provider_batches_status ON "provider_batches" (status);

-- One row of the input of a map job.
CREATE TABLE "map_items" (
  id TEXT NOT NULL PRIMARY KEY,
  -- References to other records: name -> id.
  refs JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(refs) AND typeof(refs) = 'text'),
  job_id TEXT NOT NULL REFERENCES "jobs" (id) ON DELETE CASCADE ON UPDATE CASCADE,
  -- Place in the input, from 1.
  position INTEGER NOT NULL,
  -- Name of the row: unique in the job, sent to batch APIs.
  custom_id TEXT NOT NULL,
  -- SHA-256 of the input.
  input_hash TEXT NOT NULL,
  -- Columns of the input: name -> value. NULL if it was not kept.
  input JSONB CHECK (input IS NULL OR json_valid(input) AND typeof(input) = 'text'),
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'submitted', 'completed', 'failed', 'cancelled')),
  request_id TEXT REFERENCES "requests" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  batch_id TEXT REFERENCES "provider_batches" (id) ON DELETE SET NULL ON UPDATE CASCADE,
  attempts INTEGER NOT NULL DEFAULT 0,
  -- Exit-code name and message of the error.
  error_code TEXT,
  error TEXT,
  -- The answer.
  output TEXT,
  created_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (created_at GLOB '????-??-??T??:??:??.???+00:00'),
  updated_at DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) CHECK (updated_at GLOB '????-??-??T??:??:??.???+00:00')
);
CREATE UNIQUE INDEX map_items_job_position ON "map_items" (job_id, position);
CREATE UNIQUE INDEX map_items_job_custom_id ON "map_items" (job_id, custom_id);
CREATE INDEX map_items_request_id ON "map_items" (request_id);
CREATE INDEX map_items_batch_id ON "map_items" (batch_id);

-- Totals of the ledger by UTC hour, maintained by triggers; it only grows.
CREATE TABLE "usage_hourly" (
  hour DATETIME NOT NULL CHECK (hour GLOB '????-??-??T??:??:??.???+00:00'),
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
  -- Requests with a known cost, and those whose cost is unknown.
  priced_requests INTEGER NOT NULL DEFAULT 0,
  unpriced_requests INTEGER NOT NULL DEFAULT 0,
  -- Sum of milliseconds, and the number of requests it is a sum of.
  duration INTEGER NOT NULL DEFAULT 0,
  timed_requests INTEGER NOT NULL DEFAULT 0,
  -- Histogram: milliseconds, rounded by 5 % at most -> number of requests.
  duration_histogram JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(duration_histogram) AND typeof(duration_histogram) = 'text'),
  first_token_histogram JSONB NOT NULL DEFAULT '{}' CHECK (json_valid(first_token_histogram) AND typeof(first_token_histogram) = 'text'),
  first_at DATETIME CHECK (first_at GLOB '????-??-??T??:??:??.???+00:00'),
  last_at DATETIME CHECK (last_at GLOB '????-??-??T??:??:??.???+00:00'),
  -- HTTP attempts after the first.
  retries INTEGER NOT NULL DEFAULT 0,
  -- US dollars saved by cached tokens; NULL if no price is known.
  cache_savings REAL,
  -- Requests answered from the cache of answers, and the US dollars that saved.
  cached_requests INTEGER NOT NULL DEFAULT 0,
  saved_cost REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (hour, provider, model, connection, agent, tag, status)
);

-- The same by UTC day, with fewer keys: few rows per year.
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
  cached_requests INTEGER NOT NULL DEFAULT 0,
  saved_cost REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (day, provider, model)
);

-- The same by UTC month, with all keys.
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
  cached_requests INTEGER NOT NULL DEFAULT 0,
  saved_cost REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (month, provider, model, connection, agent, tag, status)
);

-- The same by one property of a request that is no key of the others: a tool it called (a request with two counts for
-- both), its script, its folder.
CREATE TABLE "usage_labels" (
  -- day or month, and when it begins.
  unit TEXT NOT NULL CHECK (unit IN ('day', 'month')),
  period DATETIME NOT NULL CHECK (period GLOB '????-??-??T??:??:??.???+00:00'),
  kind TEXT NOT NULL CHECK (kind IN ('tool', 'script', 'folder')),
  -- Empty for requests that have none.
  label TEXT NOT NULL DEFAULT '',
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
  cached_requests INTEGER NOT NULL DEFAULT 0,
  saved_cost REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (unit, period, kind, label)
);

-- Activity by UTC day: messages users see (tool is empty), and calls of each tool.
CREATE TABLE "activity_daily" (
  day DATETIME NOT NULL CHECK (day GLOB '????-??-??T??:??:??.???+00:00'),
  tool TEXT NOT NULL DEFAULT '',
  messages INTEGER NOT NULL DEFAULT 0,
  tool_calls INTEGER NOT NULL DEFAULT 0,
  failed_tool_calls INTEGER NOT NULL DEFAULT 0,
  -- Sum of milliseconds.
  tool_duration INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (day, tool)
);
