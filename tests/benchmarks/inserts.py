"""The statements that fill a hub for benchmarks: one for each table, with the columns that are given."""

from __future__ import annotations


def _insert(table: str, columns: str) -> str:
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * (columns.count(',') + 1))})"


CONNECTION = _insert("model_connections", "id, name, provider, model_id, type, created_at, updated_at")
PRICE = _insert(
    "model_prices",
    "id, provider, model, source, input_per_million, output_per_million, cached_per_million, created_at, updated_at",
)
AGENT = _insert("agents", "id, name, chat_model_id, instructions, created_at, updated_at")
TOOL = _insert("tools", "id, name, type, schema, data, created_at, updated_at")
CHAT = _insert(
    "chats",
    "id, name, type, source_id, model, provider, last_turn_at, last_turn_folder, last_turn_terminal, metadata,"
    " origin, created_at, updated_at",
)
THREAD = _insert("message_threads", "id, chat_id, created_at, updated_at")
SESSION = _insert("agent_sessions", "id, agent_class, chat_id, created_at, updated_at")
MESSAGE = _insert(
    "messages",
    "id, thread_id, seq, chat_id, role, type, source_id, status, content, content_raw, input_tokens, output_tokens,"
    " model_id, provider, finish_reason, job_id, origin, created_at, updated_at",
)
INVOCATION = _insert(
    "tool_invocations",
    "id, tool_id, message_id, tool_call_id, provider_call_id, name, arguments, parameters, result, status, error, step,"
    " duration, started_at, finished_at, origin, created_at, updated_at",
)
REQUEST = _insert(
    "requests",
    "id, chat_id, thread_id, message_id, job_id, session_id, type, provider, model, connection, agent, status,"
    " status_code, duration, time_to_first_token, input_tokens, output_tokens, cached_tokens, cost, price_id, step,"
    " finish_reason, error_code, error_reason, error, tag, script, folder, git_commit, host, origin, created_at,"
    " updated_at",
)
CALL = _insert(
    "network_calls",
    "id, request_id, job_id, endpoint, method, body, body_hash, status, status_code, request_headers,"
    " response_headers, duration, time_to_first_byte, created_at, updated_at",
)
STREAM = _insert(
    "response_streams",
    "id, source_id, message_id, request_id, format, status, raw_output, created_at, updated_at",
)
JOB = _insert("jobs", "id, name, type, status, started_at, finished_at, created_at, updated_at")
