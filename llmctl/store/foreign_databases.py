"""Other programs' SQLite databases: detect what a file is, and read the conversations of llm's logs.db.

https://llm.datasette.io/en/stable/logging.html
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from llmctl.core.chat import File, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.core.errors import StorageError, UsageError
from llmctl.core.imported_conversation import ImportedConversation, ImportedMessage, ImportedUsage, SkippedItems
from llmctl.store.adopt import convert
from llmctl.store.adopt.convert import parse_time
from llmctl.store.database import Database

_USAGE = ("input_tokens", "output_tokens", "token_details", "duration_ms", "resolved_model")
SOURCE = "llm"


#: Options that mean the same to every provider, so that a continued chat may keep them.
_COMMON_OPTIONS = frozenset(
    ("temperature", "max_tokens", "top_p", "frequency_penalty", "presence_penalty", "stop", "seed")
)


class _LlmParameters:
    """Options and schemas of responses and turns; older databases have neither."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._schemas = {}
        if connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schemas'").fetchone():
            self._schemas = dict(map(tuple, connection.execute("SELECT id, content FROM schemas").fetchall()))

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of the parameters of a row."""
        columns = row.keys()
        options = _parse_object(row["options_json"]) if "options_json" in columns else {}
        schema = _parse_object(self._schemas.get(row["schema_id"])) if "schema_id" in columns else {}
        options = {name: value for name, value in options.items() if value is not None}
        return {**({"options": options} if options else {}), **({"schema": schema} if schema else {})}


def _parse_object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _usage(row: Mapping[str, Any], parameters: Mapping[str, Any]) -> ImportedUsage | None:
    """Return the usage of a response or turn; None if it was not reported."""
    if row["input_tokens"] is None and row["output_tokens"] is None:
        return None
    details = json.loads(row["token_details"] or "{}")
    details = details if isinstance(details, dict) else {}
    return ImportedUsage(
        row["input_tokens"],
        row["output_tokens"],
        _token_detail(details, "cached_tokens"),
        _token_detail(details, "reasoning_tokens"),
        row["duration_ms"],
        response_model=row["resolved_model"] or None,
        parameters=parameters,
    )


def _token_detail(details: Mapping[str, Any], name: str) -> int | None:
    groups = [details, *(group for group in details.values() if isinstance(group, dict))]
    return next((group[name] for group in groups if isinstance(group.get(name), int)), None)


class _LlmMessages:
    """Content-addressed messages (llm 0.32 and later): chains of hashes, parts that refer to fragments and files."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def messages(self, since: str | None, tip: str | None) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return role and parts of the messages after ``since`` up to ``tip`` in order; None is the beginning."""
        result: list[tuple[str, list[dict[str, Any]]]] = []
        seen: set[str] = set()
        at = tip
        while at is not None and at != since and at not in seen:
            seen.add(at)
            row = self._connection.execute("SELECT role, parent_hash FROM messages WHERE hash = ?", (at,)).fetchone()
            if row is None:
                break
            result.append((row["role"], self._parts(at)))
            at = row["parent_hash"]
        return result[::-1]

    def _parts(self, hash: str) -> list[dict[str, Any]]:
        rows = self._connection.execute("SELECT * FROM parts WHERE message_hash = ? ORDER BY position", (hash,))
        return [self._part(row) for row in rows.fetchall()]

    def _part(self, row: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(row["payload"]) if row["payload"] else {}
        result["type"] = row["type"]
        result.setdefault("name", row["tool_name"] or "")
        if row["text"] is not None:
            result["text"] = row["text"]
        if isinstance(result.get("text_ref"), list):
            result["text"] = "".join(map(self._piece, result["text_ref"]))
        named = [result["attachment"]] if result.get("attachment") else result.get("attachments") or []
        result["files"] = [file for one in named if (file := _attachment(self._connection, one.get("id")))]
        return result

    def _piece(self, piece: Mapping[str, Any]) -> str:
        if "literal" in piece:
            return str(piece["literal"])
        row = self._connection.execute("SELECT content FROM fragments WHERE id = ?", (piece["fragment"],)).fetchone()
        return row[0] if row else ""


def _attachment(connection: sqlite3.Connection, id: str | None) -> File | None:
    """Return an attachment of llm; one stored only as a path is named, not read."""
    row = connection.execute("SELECT type, path, url, content FROM attachments WHERE id = ?", (id,)).fetchone()
    if row is None:
        return None
    name = str(row["path"]).rpartition("/")[2] if row["path"] else None
    return File(row["type"] or "application/octet-stream", row["content"], row["url"], name)


class _LlmResponses:
    """Table ``responses`` (llm up to 0.31): a row holds prompt and answer; any later column or table may be missing."""

    def __init__(self, connection: sqlite3.Connection, tables: Collection[str]) -> None:
        self._connection = connection
        self._tables = tables
        self._columns = {row[1] for row in connection.execute("PRAGMA table_info(responses)")}
        self._parameters = _LlmParameters(connection)

    def entries(self, conversation_id: str, superseded: bool) -> Iterator[ImportedMessage]:
        """Yield the messages of a conversation; with ``superseded`` without those that are also in later tables."""
        newer = " AND id NOT IN (SELECT id FROM turns)" if superseded else ""
        sql = f"SELECT * FROM responses WHERE conversation_id = ?{newer} ORDER BY id"
        system = None
        for row in self._connection.execute(sql, (conversation_id,)).fetchall():
            at = parse_time(row["datetime_utc"])
            text = self._text_with_fragments(row, "system")
            if text and text != system:
                system = text
                yield ImportedMessage("system", (Text(text),), f"{row['id']}/system", at)
            yield from self._results(row, at)
            if prompt := self._prompt(row):
                yield ImportedMessage("user", prompt, f"{row['id']}/prompt", at)
            yield self._answer(row, at)

    def _answer(self, row: Mapping[str, Any], at: str | None) -> ImportedMessage:
        parts: list[Part] = [Thinking(row["reasoning"])] if "reasoning" in self._columns and row["reasoning"] else []
        parts += [Text(row["response"])] if row["response"] else []
        for call in self._linked("tool_calls", row["id"]):
            parts.append(
                ToolCall(call["tool_call_id"] or f"call_{call['id']}", call["name"], call["arguments"] or "{}")
            )
        usage_row = {name: row[name] if name in self._columns else None for name in _USAGE}
        return ImportedMessage(
            "assistant", tuple(parts), row["id"], at, row["model"], usage=_usage(usage_row, self._parameters.read(row))
        )

    def _results(self, row: Mapping[str, Any], at: str | None) -> Iterator[ImportedMessage]:
        """Yield the tool results, which are stored with the response that received them."""
        for result in self._linked("tool_results", row["id"]):
            part = ToolResult(result["tool_call_id"] or "", result["name"] or "", result["output"] or "")
            yield ImportedMessage("tool", (part,), f"{row['id']}/result/{result['id']}", at)

    def _prompt(self, row: Mapping[str, Any]) -> tuple[Part, ...]:
        text = self._text_with_fragments(row, "prompt")
        files = []
        if "prompt_attachments" in self._tables:
            sql = 'SELECT attachment_id FROM prompt_attachments WHERE response_id = ? ORDER BY "order"'
            ids = self._connection.execute(sql, (row["id"],)).fetchall()
            files = [file for (id,) in ids if (file := _attachment(self._connection, id))]
        return (*((Text(text),) if text else ()), *files)

    def _text_with_fragments(self, row: Mapping[str, Any], column: str) -> str:
        """Return the prompt or system prompt with its fragments."""
        pieces = []
        if f"{column}_fragments" in self._tables:
            sql = (
                f"SELECT f.content FROM {column}_fragments p JOIN fragments f ON f.id = p.fragment_id"
                ' WHERE p.response_id = ? ORDER BY p."order"'
            )
            pieces = [content for (content,) in self._connection.execute(sql, (row["id"],)).fetchall()]
        return "\n".join(piece for piece in (*pieces, row[column]) if piece)

    def _linked(self, table: str, response_id: str) -> list[Any]:
        if table not in self._tables:
            return []
        sql = f"SELECT * FROM {table} WHERE response_id = ? ORDER BY id"
        return self._connection.execute(sql, (response_id,)).fetchall()


def read_llm(connection: sqlite3.Connection) -> Iterator[ImportedConversation | SkippedItems]:
    """Yield every conversation, oldest first, and what is skipped."""
    logs = _LlmLogs(connection)
    for id, name, model in logs.conversations():
        entries = logs.entries(id)
        if entries:
            times = [entry.at for entry in entries if entry.at]
            last = logs.last_parameters(id)
            yield ImportedConversation(
                SOURCE,
                id,
                entries,
                name,
                min(times, default=None),
                max(times, default=None),
                model or entries[-1].model,
                metadata={"schema": last["schema"]} if "schema" in last else {},
                options={name: value for name, value in last.get("options", {}).items() if name in _COMMON_OPTIONS},
            )
    if "logs" in logs.tables and (count := connection.execute("SELECT count(*) FROM logs").fetchone()[0]):
        yield SkippedItems(count, "rows of llm's oldest table, logs, which has no conversations")


class _LlmLogs:
    """One database; tables that its version of llm lacks count as empty."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._parameters = _LlmParameters(connection)
        self.tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        self._responses = _LlmResponses(connection, self.tables) if "responses" in self.tables else None
        self._convert_part = _LlmMessages(connection) if "turns" in self.tables else None

    def conversations(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield id, name and model; a conversation continued with a later llm is in both places."""
        queries = []
        if self._responses:
            queries.append("SELECT id, name, model FROM conversations")
        if self._convert_part:
            known = " WHERE id NOT IN (SELECT id FROM conversations)" if self._responses else ""
            queries.append(f"SELECT id, name, NULL AS model FROM threads{known}")
        for row in self._connection.execute(" UNION ALL ".join(queries) + " ORDER BY id"):
            yield row[0], row[1], row[2]

    def entries(self, id: str) -> list[ImportedMessage]:
        result = list(self._responses.entries(id, bool(self._convert_part))) if self._responses else []
        if self._convert_part:
            result += self._turns(id, has_earlier=bool(result))
        return result

    def last_parameters(self, id: str) -> dict[str, Any]:
        """Return the options and schema of the newest answer of a conversation."""
        rows: list[sqlite3.Row] = []
        if self._convert_part:
            rows += self._connection.execute("SELECT * FROM turns WHERE thread_id = ? ORDER BY id DESC LIMIT 1", (id,))
        if self._responses and not rows:
            sql = "SELECT * FROM responses WHERE conversation_id = ? ORDER BY id DESC LIMIT 1"
            rows += self._connection.execute(sql, (id,))
        return self._parameters.read(dict(rows[0])) if rows else {}

    def _turns(self, thread_id: str, *, has_earlier: bool) -> Iterator[ImportedMessage]:
        """Yield the messages each turn added: its chain goes back to the first message, even of an older llm."""
        assert self._convert_part is not None
        sql = "SELECT * FROM turns WHERE thread_id = ? ORDER BY id"
        before = None
        for turn in self._connection.execute(sql, (thread_id,)).fetchall():
            chain = self._convert_part.messages(before, turn["tip_message_hash"])
            yield from self._turn(turn, _from_last_prompt(chain) if has_earlier and before is None else chain)
            before = turn["tip_message_hash"]

    def _turn(
        self, turn: Mapping[str, Any], messages: list[tuple[str, list[dict[str, Any]]]]
    ) -> Iterator[ImportedMessage]:
        last = max((place for place, (role, _) in enumerate(messages) if role == "assistant"), default=None)
        for place, (role, parts) in enumerate(messages):
            yield ImportedMessage(
                role if role in ("system", "user", "assistant", "tool") else "user",  # type: ignore[arg-type]
                tuple(part for one in parts for part in _convert_part(one)),
                f"{turn['id']}#{place}",
                parse_time(turn["datetime_utc"]),
                turn["model"] if role == "assistant" else None,
                usage=_usage(turn, self._parameters.read(turn)) if place == last else None,
            )


def _from_last_prompt(chain: list[tuple[str, list[dict[str, Any]]]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the end of a chain from the last user message on."""
    start = max((place for place, (role, _) in enumerate(chain) if role == "user"), default=0)
    return chain[start:]


def _convert_part(one: Mapping[str, Any]) -> Iterator[Part]:
    match one["type"]:
        case "text":
            yield Text(one.get("text") or "")
        case "reasoning":
            if one.get("text"):
                yield Thinking(one["text"])
        case "tool_call":
            arguments = json.dumps(one.get("arguments") or {}, ensure_ascii=False)
            yield ToolCall(one.get("tool_call_id") or one["name"], one["name"], arguments)
        case "tool_result":
            failed = bool(one.get("exception"))
            yield ToolResult(one.get("tool_call_id") or one["name"], one["name"], one.get("output") or "", failed)
            yield from one.get("files", ())
        case "attachment":
            yield from one.get("files", ())
        case other:
            yield Text(f"[{other}]")


# --- any database


HUB, LLM, NODE_LLM = "hub", "llm", "node-llm"
_LLM_TABLES = ({"conversations", "responses"}, {"threads", "turns", "messages", "parts"})


@contextmanager
def open_readonly(path: str) -> Iterator[sqlite3.Connection]:
    """Open another program's database read-only."""
    uri = "file:" + "".join(f"%{ord(c):02x}" if c in "%?#" else c for c in os.path.abspath(path))
    try:
        with closing(sqlite3.connect(f"{uri}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.DatabaseError as error:
        raise StorageError(f'cannot read the database "{path}": {error}') from error


def detect_kind(path: str) -> str:
    """Return the kind of a database; raise UsageError for an unknown one."""
    with open_readonly(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "hub_meta" in tables and connection.execute("PRAGMA user_version").fetchone()[0]:
            return HUB
        if any(needed <= tables for needed in _LLM_TABLES):
            return LLM
        connection.row_factory = None
        if convert.find_tables(connection, {}):
            return NODE_LLM
        if near := convert.describe_near_misses(connection):
            raise UsageError(
                f'cannot read "{path}": {"; ".join(near)}', hint="give the columns the names of @node-llm/orm"
            )
    raise UsageError(
        f'"{path}" is a database of an unknown program',
        hint="supported: hubs of llmctl, logs of llm, databases of @node-llm/orm",
    )


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
