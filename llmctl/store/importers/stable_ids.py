"""An adopted copy is made fit to be merged into another hub, once or again: the same rows under the same ids."""

from __future__ import annotations

from collections.abc import Callable

from llmctl.store.database import Database

#: Makes an id of the source, the kind of row and the row's own id.
Derive = Callable[[str, str, str], str]

_UUID = "????????-????-????-????-????????????"
#: Rows keep ids that are unique anywhere; others get one that is made of the id and the time.
_WITH_IDS = ("chats", "messages", "tool_invocations", "requests", "agent_sessions")


def make_stable(database: Database, derive: Derive) -> None:
    """Give rows ids and times that depend on the original's only, and say that they are imported."""

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
        for sql in _SETTLED:
            database.execute(sql)


_SETTLED = (
    # Threads were made by the adoption just now.
    "UPDATE {message_threads} SET created_at = (SELECT c.created_at FROM {chats} c WHERE c.id = chat_id),"
    " updated_at = (SELECT c.created_at FROM {chats} c WHERE c.id = chat_id)",
    "UPDATE {message_threads} SET id = llmctl_derived('thread', chat_id, created_at)",
    "UPDATE {chats} SET origin = 'import', updated_at = max(updated_at, coalesce("
    "(SELECT max(m.created_at) FROM {messages} m WHERE m.chat_id = {chats}.id), ''))",
    "UPDATE {messages} SET origin = 'import', status = CASE status WHEN 'pending' THEN 'interrupted' ELSE status END",
    "UPDATE {tool_invocations} SET origin = 'import'",
    # To the ORM a cost and a duration of 0 mean that nothing is known.
    "UPDATE {requests} SET origin = 'import', cost = nullif(cost, 0), duration = nullif(duration, 0)",
)
