"""The tables chats, message_threads and rendered_conversation_threads.

A thread holds the messages of a chat in order, and the lock that one job at a time has. A snapshot is a thread as it
was shown at a point in time (the seed's RenderedConversationThread).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast, get_args

from llmctl.core import clock
from llmctl.core.chat import File, Message, Part, Role, Text, parts_from_json
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.core.values import Value
from llmctl.store import refs
from llmctl.store.database import Database, Insert, Row, Serializer, Update
from llmctl.store.records.types import ChatRow, JobRow, MessageRow, ThreadRow

_THREAD = """
SELECT t.* FROM {message_threads} t JOIN {chats} c ON c.id = t.chat_id WHERE t.chat_id = ?
ORDER BY t.id IS NOT json_extract(c.refs, '$.main_thread'), t.rowid LIMIT 1
"""

#: The last turn of an imported chat was somewhere else, until it is continued here.
_WITH_MODEL = """
SELECT * FROM {chats} WHERE last_turn_at IS NOT NULL AND type <> 'agent'
  AND (origin = 'llmctl' OR last_turn_terminal OR last_turn_folder IS NOT NULL)"""

_NEWEST_OF_ANY = """
SELECT id, name, type, last_turn_at FROM {chats} ORDER BY coalesce(last_turn_at, created_at) DESC, rowid DESC LIMIT 1
"""


class Place(Value):
    """Where a run is, as its turns record it: ``--continue`` and ``last`` mean the newest chat from there."""

    terminal: bool
    folder: str | None

    def describe(self) -> str:
        return "from a terminal" if self.terminal else f"from {_format_folder(self.folder)}"


def get(database: Database, ref: str) -> ChatRow:
    """Return the chat a REF refers to."""
    return ChatRow.from_row(refs.get(database, "chats", ref, kind="chat"))


def find_by_id(database: Database, id: str | None) -> ChatRow | None:
    """Return the chat with that id, or None."""
    return ChatRow.find_row(database.one("SELECT * FROM {chats} WHERE id = ?", (id,)))


def find_by_name(database: Database, name: str) -> ChatRow | None:
    """Return the chat with exactly that name, or None."""
    return ChatRow.find_row(database.one("SELECT * FROM {chats} WHERE name = ?", (name,)))


def find_last_with_model(database: Database) -> ChatRow | None:
    """Return the chat with a model that has the newest turn, or None."""
    return ChatRow.find_row(database.one(f"{_WITH_MODEL} ORDER BY last_turn_at DESC LIMIT 1"))


def find_last_from_terminal(database: Database) -> ChatRow | None:
    """Return the chat with a model whose last turn is the newest one from a terminal, or None."""
    return ChatRow.find_row(
        database.one(f"{_WITH_MODEL} AND last_turn_terminal = 1 ORDER BY last_turn_at DESC LIMIT 1")
    )


def find_last_from_folder(database: Database, folder: str | None) -> ChatRow | None:
    """Return the chat with a model whose last turn is the newest one from a folder, without a terminal, or None."""
    condition = "AND last_turn_terminal = 0 AND last_turn_folder IS ?"
    return ChatRow.find_row(database.one(f"{_WITH_MODEL} {condition} ORDER BY last_turn_at DESC LIMIT 1", (folder,)))


_LAST_MODEL = """
SELECT m.model_id, k.name FROM {messages} m LEFT JOIN {model_connections} k ON k.id = m.source_id
WHERE m.chat_id = ? AND m.role = 'assistant' ORDER BY m.seq DESC LIMIT 1"""


def get_last_model(database: Database, id: str) -> tuple[str, ...]:
    """Return the model of the last answer of a chat, and the name of its connection if it has one."""
    row = database.one(_LAST_MODEL, (id,))
    return tuple(filter(None, row.values())) if row else ()


def list_with_ref(database: Database, name: str, id: str) -> list[ChatRow]:
    """Return the chats with a reference, in the order in which they were made."""
    rows = database.rows("SELECT * FROM {chats} WHERE json_extract(refs, '$.' || ?) = ? ORDER BY rowid", (name, id))
    return list(map(ChatRow.from_row, rows))


def get_columns(database: Database, id: str) -> Row:
    """Return all columns of the chat with that id, custom ones included."""
    row = database.one("SELECT * FROM {chats} WHERE id = ?", (id,))
    if row is None:
        raise NotFoundError(f'no chat "{id}"')
    return row


def count(database: Database) -> int:
    """Return the number of chats."""
    number: int = database.value("SELECT count(*) FROM {chats}")
    return number


def add(database: Database, row: Mapping[str, Any], *, system: str | None = None) -> str:
    """Add a chat with its thread and, if there is a system prompt, its first message; return its id."""
    id, thread_id, now = new_id(), new_id(), clock.now()
    times = {"created_at": now, "updated_at": now}
    writes = [
        Insert("chats", {"id": id, "origin": "llmctl", **row, "instructions": system, **times}),
        Insert("message_threads", {"id": thread_id, "chat_id": id, **times}),
    ]
    if system is not None:
        writes.append(Insert("messages", _system_message(id, thread_id, 1, system, now)))
    with database.transaction(durable=True):
        require_free_name(database, row.get("name"))
        database.commit(*writes)
    return id


def update(database: Database, chat: ChatRow, changes: Mapping[str, Any], *, system: str | None = None) -> None:
    """Change a chat; a new system prompt is appended to its thread. The caller holds the thread's lock."""
    now = clock.now()
    with database.transaction(durable=True):
        require_free_name(database, changes.get("name"), chat.id)
        if system is not None and system != chat.instructions:
            _append_system_message(database, chat, system)
            changes = {**changes, "instructions": system}
        database.commit(Update("chats", chat.id, {**changes, "updated_at": now}))


def find_name(database: Database, id: str) -> str | None:
    """Return the name of the chat with that id, or None."""
    name: str | None = database.value("SELECT name FROM {chats} WHERE id = ?", (id,))
    return name


_FIRST_PROMPT = """
SELECT substr(content, 1, 200) FROM {messages} WHERE chat_id = ? AND role = 'user' ORDER BY created_at LIMIT 1"""


def get_title(database: Database, chat: ChatRow) -> str:
    """Return what the chat is called: see :func:`llmctl.core.humanize.format_title`."""
    from llmctl.core.humanize import format_title  # only for titles

    return format_title(chat.name, None if chat.name else database.value(_FIRST_PROMPT, (chat.id,)), chat.id)


def count_turns(database: Database, id: str) -> int:
    """Return the number of user messages of a chat."""
    sql = "SELECT count(*) FROM {messages} WHERE chat_id = ? AND role = 'user'"
    return int(database.value(sql, (id,)) or 0)


def column_names(database: Database) -> list[str]:
    """Return the columns of chats, custom ones included."""
    return [column["name"] for column in database.query("PRAGMA table_info({chats})")]


def require_free_name(database: Database, name: str | None, own_id: str | None = None) -> None:
    """Raise UsageError if another chat has that name, or if no command could mean the chat by it."""
    if name is None:
        return
    if not name.strip():
        raise UsageError("the name of a chat must not be empty")
    if name == "last":
        raise UsageError('the name of a chat must not be "last"', hint='"last" is the chat that -c continues')
    if refs.is_id_prefix(name) and (own_id is None or name != find_name(database, own_id)):
        raise UsageError(f'the name of a chat must not look like an id, got "{name}"', hint=f"add a word: chat-{name}")
    other = database.value("SELECT id FROM {chats} WHERE name = ?", (name,))
    if other is not None and other != own_id:
        raise UsageError(f'chat "{name}" already exists', hint=f"show it: llmctl chats show {other[:8]}")


def _append_system_message(database: Database, chat: ChatRow, system: str) -> None:
    now = clock.now()
    thread_id = database.value("SELECT id FROM {message_threads} WHERE chat_id = ? ORDER BY rowid LIMIT 1", (chat.id,))
    if thread_id is None:
        thread_id = new_id()
        thread = {"id": thread_id, "chat_id": chat.id, "created_at": now, "updated_at": now}
        database.commit(Insert("message_threads", thread))
    last = database.one(
        "SELECT max(seq) AS seq, max(created_at) AS at FROM {messages} WHERE thread_id = ?", (thread_id,)
    )
    assert last
    at = max(now, clock.add_seconds(last["at"], 0.001)) if last["at"] else now
    database.commit(Insert("messages", _system_message(chat.id, thread_id, (last["seq"] or 0) + 1, system, at)))


def _system_message(chat_id: str, thread_id: str, seq: int, text: str, at: str) -> Row:
    return {
        "id": new_id(),
        "thread_id": thread_id,
        "seq": seq,
        "chat_id": chat_id,
        "role": "system",
        "type": "system",
        "status": "completed",
        "content": text,
        "origin": "llmctl",
        "created_at": at,
        "updated_at": at,
    }


# --- threads and their messages


_THREAD_FILES = """
SELECT ma.message_id, a.content, a.url, nullif(coalesce(ma.name, a.name), '') AS name,
  coalesce(ma.media_type, a.media_type) AS media_type
FROM {messages} m
JOIN {message_attachments} ma ON ma.message_id = m.id JOIN {attachments} a ON a.id = ma.attachment_id
WHERE m.thread_id = ? ORDER BY m.seq, ma.position
"""
_THREAD_COLUMNS = """
  t.*, c.name AS chat, j.status AS lock_status,
  (SELECT count(*) FROM {messages} m WHERE m.thread_id = t.id) AS message_count,
  (SELECT max(m.seq) FROM {messages} m WHERE m.thread_id = t.id) AS last_seq
"""
_THREAD_JOINS = "LEFT JOIN {chats} c ON c.id = t.chat_id LEFT JOIN {jobs} j ON j.id = t.locking_job_id"
_LIST_THREADS = (
    f"SELECT {_THREAD_COLUMNS} FROM (SELECT rowid AS place FROM {{message_threads}} ORDER BY rowid DESC LIMIT :limit) n"
    f" CROSS JOIN {{message_threads}} t ON t.rowid = n.place {_THREAD_JOINS} ORDER BY n.place DESC"
)
_LIST_LOCKED_THREADS = (
    f"SELECT {_THREAD_COLUMNS} FROM {{message_threads}} t {_THREAD_JOINS}"
    " WHERE t.locking_job_id IS NOT NULL ORDER BY t.rowid DESC LIMIT :limit"
)
_GET_THREAD = f"SELECT {_THREAD_COLUMNS} FROM {{message_threads}} t {_THREAD_JOINS} WHERE t.id = ?"


class AttachedFile(Value):
    """An attachment under the name and type it has in a message."""

    content: bytes | None
    url: str | None
    name: str | None
    media_type: str


def find_thread(database: Database, chat_id: str) -> ThreadRow | None:
    """Return the thread of a chat, or None: another program created the chat and has added no message yet.

    It is the first one, or that to which the chat refers: a recorded chat may have others.
    """
    return ThreadRow.find_row(database.one(_THREAD, (chat_id,)))


def list_thread_messages(database: Database, thread_id: str, *, upto_seq: int | None = None) -> list[MessageRow]:
    """Return all messages of a thread in order."""
    return list(
        map(
            MessageRow.from_row,
            database.query(
                "SELECT * FROM {messages} WHERE thread_id = :thread AND (:upto IS NULL OR seq <= :upto) ORDER BY seq",
                {"thread": thread_id, "upto": upto_seq},
            ),
        )
    )


def list_message_columns(database: Database, thread_id: str) -> dict[str, Row]:
    """Return message id -> all its columns, custom ones included, for a whole thread."""
    rows = database.rows("SELECT * FROM {messages} WHERE thread_id = ?", (thread_id,))
    return {row["id"]: row for row in rows}


def attachments_by_message(database: Database, thread_id: str) -> dict[str, list[AttachedFile]]:
    """Return message id -> its attachments in order, for a whole thread."""
    result: dict[str, list[AttachedFile]] = {}
    for row in database.rows(_THREAD_FILES, (thread_id,)):
        result.setdefault(row.pop("message_id"), []).append(AttachedFile(**row))
    return result


def find_instructions(database: Database, thread_id: str) -> str | None:
    """Return the instructions of the chat of a thread, or None."""
    sql = "SELECT c.instructions FROM {message_threads} t JOIN {chats} c ON c.id = t.chat_id WHERE t.id = ?"
    instructions: str | None = database.value(sql, (thread_id,))
    return instructions


def find_last_message(database: Database, thread_id: str) -> MessageRow | None:
    """Return the last message of a thread, or None."""
    return MessageRow.find_row(
        database.one("SELECT * FROM {messages} WHERE thread_id = ? ORDER BY seq DESC LIMIT 1", (thread_id,))
    )


def find_last_turn_message(database: Database, thread_id: str) -> MessageRow | None:
    """Return the last message of a thread that is not a system prompt, or None."""
    sql = "SELECT * FROM {messages} WHERE thread_id = ? AND role <> 'system' ORDER BY seq DESC LIMIT 1"
    return MessageRow.find_row(database.one(sql, (thread_id,)))


def find_last_user_message(database: Database, chat_id: str) -> MessageRow | None:
    """Return the user's last message in a chat, or None."""
    sql = "SELECT * FROM {messages} WHERE chat_id = ? AND role = 'user' ORDER BY seq DESC LIMIT 1"
    return MessageRow.find_row(database.one(sql, (chat_id,)))


def find_attachment_id(database: Database, content_hash: str) -> str | None:
    """Return the id of the attachment with this content, or None."""
    id: str | None = database.value("SELECT id FROM {attachments} WHERE content_hash = ?", (content_hash,))
    return id


def last_message_time(database: Database, thread_id: str, chat_id: str) -> str:
    """Return the time of the latest message of the thread or its chat, or an empty string."""
    value: str | None = database.value(
        "SELECT max(created_at) FROM ("
        " SELECT * FROM (SELECT created_at FROM {messages} WHERE thread_id = ? ORDER BY seq DESC LIMIT 1)"
        " UNION ALL SELECT max(created_at) FROM {messages} WHERE chat_id = ?)",
        (thread_id, chat_id),
    )
    return value or ""


def locked_thread_ids(database: Database, job_id: str) -> list[str]:
    """Return the ids of the threads that a job has locked."""
    return [row["id"] for row in database.query("SELECT id FROM {message_threads} WHERE locking_job_id = ?", (job_id,))]


_ABANDONED_LOCKS = """
SELECT t.id FROM {message_threads} t LEFT JOIN {jobs} j ON j.id = t.locking_job_id
WHERE t.locking_job_id IS NOT NULL AND j.status IS NOT 'running'
"""
#: Placeholders of other programs have no job: they get ten minutes.
_ABANDONED_MESSAGES = """
SELECT m.id, m.origin FROM {messages} m LEFT JOIN {jobs} j ON j.id = m.job_id WHERE m.status = 'pending'
AND CASE m.origin WHEN 'orm' THEN m.created_at < strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-10 minutes')
ELSE j.status IS NOT 'running' END
"""


def list_abandoned_locks(database: Database) -> list[str]:
    """Return the ids of the threads that a job holds which has ended."""
    return [row["id"] for row in database.query(_ABANDONED_LOCKS)]


def list_abandoned_messages(database: Database) -> list[Row]:
    """Return ``id`` and ``origin`` of the messages that nobody will finish."""
    return database.query(_ABANDONED_MESSAGES)


def find_locking_job(database: Database, thread_id: str) -> JobRow | None:
    """Return the job that holds the thread's lock, dead or alive, or None."""
    return JobRow.find_row(
        database.one(
            "SELECT j.* FROM {message_threads} t JOIN {jobs} j ON j.id = t.locking_job_id WHERE t.id = ?", (thread_id,)
        )
    )


def tokens_since_last_prompt(database: Database, thread_id: str) -> tuple[int, int]:
    """Return input and output tokens of the requests since the last user message: those of a resumed turn."""
    row = database.one(
        "SELECT coalesce(sum(r.input_tokens), 0) AS tokens_in, coalesce(sum(r.output_tokens), 0) AS tokens_out"
        " FROM {messages} m JOIN {requests} r ON r.message_id = m.id WHERE m.thread_id = :thread AND m.seq >"
        " coalesce((SELECT max(seq) FROM {messages} WHERE thread_id = :thread AND role = 'user'"
        " AND chat_id IS NOT NULL), 0)",
        {"thread": thread_id},
    )
    return (row["tokens_in"], row["tokens_out"]) if row else (0, 0)


def list_threads(database: Database, limit: int | None, *, locked: bool = False) -> Iterator[Row]:
    """Yield threads as records, newest first; with ``locked`` only those that are locked."""
    shape = Serializer(database, "message_threads")
    rows = database.rows(_LIST_LOCKED_THREADS if locked else _LIST_THREADS, {"limit": -1 if limit is None else limit})
    return (shape.to_record(row) for row in rows)


def count_threads(database: Database, *, locked: bool = False) -> int:
    """Return the number of threads of :func:`list_threads`."""
    where = "WHERE locking_job_id IS NOT NULL" if locked else ""
    return int(database.value(f"SELECT count(*) FROM {{message_threads}} {where}"))


def get_thread_record(database: Database, ref: str) -> Row:
    """Return the thread a REF refers to, as a record."""
    id = refs.get(database, "message_threads", ref, kind="thread")["id"]
    row = database.one(_GET_THREAD, (id,))
    assert row is not None
    return Serializer(database, "message_threads").to_record(row)


# --- snapshots


def add_snapshot(
    database: Database,
    thread_id: str,
    messages: Sequence[Mapping[str, str]],
    *,
    upto_seq: int | None,
    reason: str | None,
) -> Row:
    """Add a snapshot of messages (``type`` and ``content``); return the record."""
    now = clock.now()
    row = {
        "id": new_id(),
        "thread_id": thread_id,
        "upto_seq": upto_seq,
        "reason": reason,
        "messages": dumps(list(messages)),
        "created_at": now,
        "updated_at": now,
    }
    database.commit(Insert("rendered_conversation_threads", row), durable=True)
    return get_snapshot_by_id(database, str(row["id"]))


def get_snapshot_by_id(database: Database, id: str) -> Row:
    """Return the snapshot with that id as a record."""
    row = database.one("SELECT * FROM {rendered_conversation_threads} WHERE id = ?", (id,))
    assert row is not None
    return Serializer(database, "rendered_conversation_threads").to_record(row)


def get_snapshot(database: Database, ref: str, thread_id: str) -> Row:
    """Return the snapshot of a thread that a REF refers to, as a record."""
    row = refs.get(database, "rendered_conversation_threads", ref, kind="snapshot")
    if row["thread_id"] != thread_id:
        raise NotFoundError(f'snapshot "{ref}" belongs to another chat', hint="see: llmctl chats render REF --list")
    return Serializer(database, "rendered_conversation_threads").to_record(row)


def list_snapshots(database: Database, thread_id: str) -> list[Row]:
    """Return the snapshots of a thread as records, oldest first."""
    shape = Serializer(database, "rendered_conversation_threads")
    sql = "SELECT * FROM {rendered_conversation_threads} WHERE thread_id = ? ORDER BY created_at"
    return [shape.to_record(row) for row in database.rows(sql, (thread_id,))]


_ABANDONED = """
SELECT i.id FROM {tool_invocations} i JOIN {messages} m ON m.id = i.message_id
WHERE m.thread_id = ? AND i.status = 'pending' AND i.origin = 'llmctl'
"""


def list_abandoned_calls(database: Database, thread_id: str) -> list[str]:
    """Return the ids of pending calls that the user's next message abandons."""
    return [row["id"] for row in database.query(_ABANDONED, (thread_id,))]


# --- the chat to continue, and its rows as messages


def get_or_last(database: Database, ref: str, place: Place) -> ChatRow:
    """Return the chat of ``--chat REF``; ``last`` is the one that ``--continue`` takes there. Raises NotFoundError."""
    return get_last_used(database, place, "no chat") if ref == "last" else get(database, ref)


def get_last_used(database: Database, place: Place, message: str = "no chat to continue") -> ChatRow:
    """Return the newest chat whose last turn came from the same kind of place: a terminal, or this folder.

    Raises NotFoundError that names the newest chat from elsewhere.
    """
    chat = find_last_from_terminal(database) if place.terminal else find_last_from_folder(database, place.folder)
    if chat is None:
        raise NotFoundError(f"{message} {place.describe()}", hint=_newest_chat_hint(database))
    return chat


def to_message(row: MessageRow, files: Iterable[AttachedFile] = ()) -> Message:
    """Return the message in a row of ``messages``, with its attachments."""
    raw = loads(row.content_raw) if row.content_raw and row.origin != "orm" else None
    parts: tuple[Part, ...] = parts_from_json(raw) if isinstance(raw, list) else _text_parts(row.content)
    role: Role = cast(Role, row.role) if row.role in get_args(Role) else "user"
    return Message(role, (*parts, *map(_message_file, files)), loads(row.metadata, {}))


def _text_parts(content: str | None) -> tuple[Part, ...]:
    return (Text(content),) if content else ()


def _message_file(file: AttachedFile) -> File:
    return File(file.media_type, data=file.content, url=None if file.content else file.url, name=file.name)


def _newest_chat_hint(database: Database) -> str:
    chat = find_last_with_model(database)
    if chat is not None:
        place = Place(bool(chat.last_turn_terminal), chat.last_turn_folder)
        return f"the newest one is {place.describe()}: llmctl chat --chat {chat.name or chat.id[:8]}"
    other = database.one(_NEWEST_OF_ANY)
    if other is None:
        return 'start one: llmctl chat "..."'
    what = "an agent session" if other["type"] == "agent" else "imported" if other["last_turn_at"] else "without a turn"
    return f"the newest chat is {what}: llmctl chats show {other['name'] or other['id'][:8]}"


def _format_folder(path: str | None) -> str:
    return f'"{path}"' if path else "a removed folder"
