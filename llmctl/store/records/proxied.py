"""What the proxy asks of the hub: conversations by their beginning or their name, and the programs that may use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from llmctl.core.errors import NotFoundError
from llmctl.core.stored_values import dumps
from llmctl.core.values import TypedRow
from llmctl.store.database import Database, Row
from llmctl.store.records.types import JobRow, ProxyAppRow

_BY_PREFIX = """
SELECT m.prefix_hash, t.chat_id, m.thread_id, m.seq,
  NOT EXISTS (SELECT 1 FROM {messages} n WHERE n.thread_id = m.thread_id AND n.seq > m.seq) AS is_last
FROM json_each(:hashes) h
JOIN {messages} m ON m.prefix_hash = h.value
JOIN {message_threads} t ON t.id = m.thread_id
WHERE t.chat_id IS NOT NULL AND (:chat_id IS NULL OR t.chat_id = :chat_id)
ORDER BY m.rowid
"""


class PrefixRow(TypedRow):
    """A message by the conversation up to it."""

    prefix_hash: str
    chat_id: str
    thread_id: str
    seq: int
    is_last: bool


def find_by_prefix(database: Database, hashes: Sequence[str], chat_id: str | None) -> Iterator[PrefixRow]:
    """Yield the messages that end one of these conversations, in a chat or anywhere; the newest of each comes last."""
    for row in database.rows(_BY_PREFIX, {"hashes": dumps(list(hashes)), "chat_id": chat_id}):
        yield PrefixRow.from_row(row)


def find_chat_of_session(database: Database, session_key: str, app: str) -> str | None:
    """Return the chat of a conversation that a program named."""
    sql = """
    SELECT chat_id FROM {requests}
    WHERE session_key = :session_key AND app IS :app AND chat_id IS NOT NULL ORDER BY rowid DESC LIMIT 1
    """
    found: str | None = database.value(sql, {"session_key": session_key, "app": app})
    return found


def find_last_system(database: Database, thread_id: str) -> str | None:
    """Return the system prompt that a thread has by now."""
    sql = "SELECT content FROM {messages} WHERE thread_id = ? AND role = 'system' ORDER BY seq DESC LIMIT 1"
    found: str | None = database.value(sql, (thread_id,))
    return found


def is_free_name(database: Database, name: str) -> bool:
    """Return whether no chat has a name."""
    return database.value("SELECT 1 FROM {chats} WHERE name = ?", (name,)) is None


def find_request_state(database: Database, request_id: str) -> Literal["reserved", "recorded"] | None:
    """Return how far a request is in the hub: only its reservation, or all of it; None: not at all.

    A reservation whose process died may have got an end since; its attempt shows that it was recorded.
    """
    sql = """
    SELECT CASE WHEN EXISTS (SELECT 1 FROM {network_calls} n WHERE n.request_id = r.id) THEN 'recorded'
      ELSE 'reserved' END FROM {requests} r WHERE id = ?
    """
    found: Literal["reserved", "recorded"] | None = database.value(sql, (request_id,))
    return found


def find_reserved_cost(database: Database, request_id: str) -> float | None:
    """Return what is reserved for a request, in US dollars; None for nothing."""
    found: float | None = database.value("SELECT reserved_cost FROM {requests} WHERE id = ?", (request_id,))
    return found


def get_spending(database: Database, job_id: str | None, app: str | None, since: str) -> float:
    """Return the costs and reserved costs of a job's requests, or of an app's since a time, in US dollars."""
    sql = """
    SELECT coalesce(sum(coalesce(cost, 0) + coalesce(reserved_cost, 0)), 0) FROM {requests}
    WHERE (:job_id IS NULL OR job_id = :job_id) AND (:app IS NULL OR app = :app) AND created_at >= :since
    """
    return float(database.value(sql, {"job_id": job_id, "app": app, "since": since}))


def summarize_job(database: Database, job_id: str) -> Row:
    """Return ``requests``, ``tokens``, ``cost``, ``list_cost`` and ``unpriced`` of a proxy's requests."""
    sql = """
    SELECT count(*) AS requests, sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS tokens,
      sum(cost) AS cost, sum(list_cost) AS list_cost, sum(cost IS NULL AND type <> 'other') AS unpriced
    FROM {requests} WHERE job_id = ?
    """
    return database.one(sql, (job_id,)) or {}


def list_chat_names(database: Database, job_id: str) -> list[str]:
    """Return the names of the chats that a proxy recorded, the one with most requests first."""
    sql = """
    SELECT c.name FROM {requests} r JOIN {chats} c ON c.id = r.chat_id WHERE r.job_id = ? AND c.name IS NOT NULL
    GROUP BY c.id ORDER BY count(*) DESC, c.rowid
    """
    return [row["name"] for row in database.rows(sql, (job_id,))]


def list_apps(database: Database) -> list[ProxyAppRow]:
    """Return the apps by name."""
    return [ProxyAppRow.from_row(row) for row in database.rows("SELECT * FROM {proxy_apps} ORDER BY name")]


def find_app(database: Database, name: str) -> ProxyAppRow | None:
    """Return the app of a name, or None."""
    return ProxyAppRow.find_row(database.one("SELECT * FROM {proxy_apps} WHERE name = ?", (name,)))


def get_app(database: Database, name: str) -> ProxyAppRow:
    """Return the app of a name. Raises NotFoundError where there is none."""
    app = find_app(database, name)
    if app is None:
        raise NotFoundError(f'no app "{name}"', hint="list the apps: llmctl proxy app list", reason="unknown_app")
    return app


def summarize_apps(database: Database) -> list[Row]:
    """Return the apps by name, with their requests and costs; of a key only whether there is one."""
    sql = """
    SELECT a.id, a.name, a.connection, a.models, a.max_cost_day, a.max_cost_month, a.no_log,
      a.key_hash IS NOT NULL AS has_key, count(r.id) AS requests, sum(r.cost) AS cost
    FROM {proxy_apps} a LEFT JOIN {requests} r ON r.app = a.name GROUP BY a.id ORDER BY a.name
    """
    return list(database.rows(sql))


def list_proxy_jobs(database: Database) -> list[JobRow]:
    """Return the proxies that run or died, newest first."""
    sql = "SELECT * FROM {jobs} WHERE type = 'proxy' AND status = 'running' ORDER BY rowid DESC"
    return [JobRow.from_row(row) for row in database.rows(sql)]


def list_response_ids(database: Database, session_key: str) -> list[str]:
    """Return the providers' ids of the answers in a conversation that a program named and the proxy recorded."""
    sql = "SELECT response_id FROM {requests} WHERE session_key = ? AND origin = 'proxy' AND response_id IS NOT NULL"
    return [row["response_id"] for row in database.rows(sql, (session_key,))]


def list_answers(database: Database) -> Iterator[tuple[str, str]]:
    """Yield the provider's id of every answer, and the id of the request that has it."""
    sql = "SELECT response_id, id FROM {requests} WHERE response_id IS NOT NULL"
    return ((row["response_id"], row["id"]) for row in database.rows(sql))
