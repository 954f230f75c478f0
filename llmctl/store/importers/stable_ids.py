"""Give an adopted copy stable ids, so that importing it again yields the same rows."""

from __future__ import annotations

from collections.abc import Callable

from llmctl.store.database import Database

#: Makes an id from the source, the kind of row and the row's own id.
Derive = Callable[[str, str, str], str]

_UUID = "????????-????-????-????-????????????"
#: Rows keep ids that are UUIDs; others get one made from the id and the time.
_WITH_IDS = ("chats", "messages", "tool_invocations", "requests", "agent_sessions")


def make_ids_stable(database: Database, derive: Derive) -> None:
    """Give rows ids and times that depend only on the original's, and mark them as imported."""

    def made(kind: str, id: str, at: str) -> str:
        return derive("node-llm", kind, f"{id}\0{at}")

    database.connection.create_function("llmctl_derived", 3, made, deterministic=True)
    with database.transaction():
        database.execute("PRAGMA defer_foreign_keys=ON")
        for table in _WITH_IDS:
            database.execute(
                f"UPDATE {{{table}}} SET id = llmctl_derived('{table}', id, created_at)"
                f" WHERE id NOT GLOB '{_UUID}' OR lower(id) <> id"
            )
            database.execute(f"UPDATE {{{table}}} SET updated_at = created_at WHERE updated_at > created_at")
        for sql in _NORMALIZE:
            database.execute(sql)


_NORMALIZE = (
    # The adoption has just created the threads.
    "UPDATE {message_threads} SET created_at = (SELECT c.created_at FROM {chats} c WHERE c.id = chat_id),"
    " updated_at = (SELECT c.created_at FROM {chats} c WHERE c.id = chat_id)",
    "UPDATE {message_threads} SET id = llmctl_derived('thread', chat_id, created_at)",
    "UPDATE {chats} SET origin = 'import', updated_at = max(updated_at, coalesce("
    "(SELECT max(m.created_at) FROM {messages} m WHERE m.chat_id = {chats}.id), ''))",
    "UPDATE {messages} SET origin = 'import', status = CASE status WHEN 'pending' THEN 'interrupted' ELSE status END",
    "UPDATE {tool_invocations} SET origin = 'import'",
    # To the ORM cost 0 and duration 0 mean unknown.
    "UPDATE {requests} SET origin = 'import', cost = nullif(cost, 0), duration = nullif(duration, 0)",
)
