"""The hub for programs: ``from llmctl import Hub``. The same engine, the same rows and guarantees as the command."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Unpack
from weakref import WeakSet, ref

from llmctl.api import ask_options
from llmctl.api.agent import Agent
from llmctl.api.agent_session import AgentSession
from llmctl.api.ask_options import Asking, Confirm, Habits
from llmctl.api.chat import Chat
from llmctl.api.middleware import Middleware
from llmctl.api.pool import Pool
from llmctl.api.stream import Stream
from llmctl.core import paths, time_ranges
from llmctl.core.clock import now
from llmctl.core.custom_values import column_value
from llmctl.core.errors import ConfigError, UsageError
from llmctl.core.ids import new_id
from llmctl.engine.chats import lookup
from llmctl.engine.connections import first_run
from llmctl.engine.inspect import stats_scope
from llmctl.engine.turn.chat_records import chat_row
from llmctl.engine.turn.options import Ask, Surroundings
from llmctl.engine.turn.redaction import Redaction
from llmctl.store import readonly_sql
from llmctl.store.database import Database, Row
from llmctl.store.records import chats
from llmctl.store.serialize import Shape
from llmctl.store.stats import group_by as stats_group_by
from llmctl.store.stats import query as stats_query

#: What the original calls the tables that may have other names.
_ORIGINAL = {
    "chat": "chats",
    "message": "messages",
    "toolCall": "tool_invocations",
    "tool_call": "tool_invocations",
    "request": "requests",
    "agentSession": "agent_sessions",
    "agent_session": "agent_sessions",
}
#: Columns of a chat that only its turns write.
_TURNS = ("id", "created_at", "updated_at", "last_turn_at", "last_turn_folder", "last_turn_terminal", "instructions")


class Hub:
    """An open hub. A context manager: leaving it finishes what still runs.

    ``path`` goes before ``LLMCTL_DB`` and the XDG data folder, as with ``--db``; ``":memory:"`` leaves nothing on
    disk. ``env`` stands for the process's environment: keys are found there. A missing hub is made, with connections
    for those keys, unless ``create=False`` (then ConfigError). ``tables`` gives tables names of your own and
    ``fields`` adds columns (``"chats.user_id:text"``); the hub remembers both.

    One hub may be shared by threads: each turn has a connection of its own. One in memory belongs to the thread that
    made it.

    >>> with Hub(":memory:", tables={"chat": "assistantChat"}, fields=["chats.user_id:text"]) as hub:
    ...     chat = hub.create_chat(model="echo", user_id="user_123", metadata={"source": "web"})
    ...     str(chat.ask("hello"))
    ...     hub.query("SELECT user_id FROM assistantChat")
    'hello'
    [{'user_id': 'user_123'}]
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        create: bool = True,
        tables: Mapping[str, str] | None = None,
        fields: Sequence[str] = (),
        middlewares: Sequence[Middleware] = (),
    ) -> None:
        self.env: Mapping[str, str] = dict(os.environ) if env is None else env
        found = paths.hub_path(os.fspath(path) if path else None, self.env)
        if found is None:
            raise ConfigError("no home folder to keep the hub in", hint="set LLMCTL_DB, or name a path")
        #: Where the hub is.
        self.path = found
        self.around = Surroundings.of(self.env)
        self._process = os.getpid()
        self.middlewares: list[Middleware] = list(middlewares)
        self._streams: WeakSet[Stream] = WeakSet()
        self._pool = Pool(found, paths.state_folder(self.env))
        self._pool.open(create=create, prepare=lambda database: first_run.connect_environment(database, self.env))
        atexit.register(_close, ref(self))
        if tables or fields:
            self._reshape({_ORIGINAL.get(name, name): own for name, own in (tables or {}).items()}, fields)

    def create_chat(
        self,
        *,
        model: str | None = None,
        connection: str | None = None,
        instructions: str | None = None,
        name: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        references: Mapping[str, str] | None = None,
        tools: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
        thinking: str | int | None = None,
        schema: Any = None,
        persistence: Mapping[str, bool] | None = None,
        confirm: Confirm | None = None,
        middlewares: Sequence[Middleware] = (),
        **fields: Any,
    ) -> Chat:
        """Begin a chat and return it; its row is there at once.

        It keeps model, options, thinking, tools of the hub, persistence and metadata; functions, schema, ``confirm``
        and middlewares are code's, and given anew to :meth:`load_chat`. ``persistence`` says what does not stay,
        such as ``{"tool_calls": False, "requests": False}``: it goes when the turn is finished, usage still counts.
        ``confirm`` is asked about calls that may not run unasked. Further keywords are your own columns.
        """
        how: Asking = {"model": model, "connection": connection, "thinking": thinking, "options": options or {}}
        how |= {"metadata": metadata or {}, "references": references or {}}
        own = [one for one in tools if isinstance(one, str)]
        with self.lent() as database:
            plan = ask_options.plan(database, None, Ask(system=instructions), how, None, self.around)
            without = ask_options.without_of(persistence)
            own_columns = _columns(database, fields)
            plan = ask_options.with_tools(database, plan, {"tools": own}, None, ask_options.hooks_of(()))
            plan = replace(plan, keep=plan.keep._replace(name=name, without=without, fields=own_columns))
            row = chat_row(new_id(), plan, Redaction(()), now())
            row = {column: value for column, value in row.items() if column not in _TURNS}
            chat_id = chats.create(database, row | {"description": description}, system=instructions)
        asking: Asking = {"tools": [one for one in tools if not isinstance(one, str)], "schema": schema}
        return Chat(self, chat_id, Habits(asking, tuple(middlewares), confirm))

    def load_chat(
        self,
        chat: str,
        *,
        confirm: Confirm | None = None,
        middlewares: Sequence[Middleware] = (),
        **how: Unpack[Asking],
    ) -> Chat:
        """Return the chat of an id, a name or the beginning of an id; ``last`` is the newest. Raises NotFoundError."""
        with self.lent() as database:
            row = lookup.by_reference(database, chat)
        if row["type"] == "agent":
            raise UsageError(
                f'"{chat}" is a session of an agent', hint=f'load_agent_session(AGENT, "{row["id"]}") goes on with it'
            )
        return Chat(self, row["id"], Habits(how, tuple(middlewares), confirm))

    def chats(self, limit: int | None = 20) -> list[Row]:
        """Return chats as records, the one with the newest turn first."""
        with self.lent() as database:
            shape = Shape(database, "chats")
            return [shape.record(row) for row in chats.listed(database, chats.Filter(), limit)]

    def create_agent_session(
        self,
        agent: type[Agent] | str,
        *,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
        confirm: Confirm | None = None,
        middlewares: Sequence[Middleware] = (),
        **fields: Any,
    ) -> AgentSession:
        """Begin a session of an agent and return it; ``metadata`` is what its instructions may name.

        The agent is a class, or the name of one in the hub.
        """
        with self.lent() as database:
            columns = {"name": name, **_columns(database, fields)}
            begun = AgentSession.begun(self, database, agent, dict(metadata or {}), columns)
        return begun.use(*middlewares).confirmed(confirm)

    def load_agent_session(
        self,
        agent: type[Agent] | str,
        session: str,
        *,
        force: bool = False,
        confirm: Confirm | None = None,
        middlewares: Sequence[Middleware] = (),
    ) -> AgentSession:
        """Return a session by its id, or its chat's. Model, tools, instructions and options are the class's as it is.

        Raises NotFoundError, and UsageError for a session of another agent, unless ``force`` takes it over.
        """
        with self.lent() as database:
            loaded = AgentSession.loaded(self, database, agent, session, force=force)
        return loaded.use(*middlewares).confirmed(confirm)

    def stats(
        self,
        *,
        chat: str | None = None,
        agent: str | None = None,
        connection: str | None = None,
        since: str | None = None,
        until: str | None = None,
        group_by: str | Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return the object of ``stats --json``; with ``group_by`` it has ``groups`` and ``total``.

        Times are RFC 3339, or as on the command line: ``2026-10-05``, ``7d``, ``2h``.
        """
        begin, end = (time_ranges.moment(text) if text else None for text in (since, until))
        keys = group_by.split(",") if isinstance(group_by, str) else list(group_by)
        with self.lent() as database:
            chat_id = lookup.by_reference(database, chat)["id"] if chat else None
            scope = stats_scope.scope(database, chat_id, agent, connection, begin, end)
            if not any(keys):
                return stats_query.total(database, scope)
            rows, total = stats_query.grouped(database, scope, stats_group_by.grouping(database, keys, None))
            return {"groups": rows, "total": total}

    def query(self, sql: str, **values: Any) -> list[Row]:
        """Run one SELECT over the hub's views and tables (``llmctl help sql``); ``:name`` takes a keyword.

        Nothing can be changed by it: UsageError for whatever is no reading.
        """
        with self._pool.reading() as database:
            return readonly_sql.rows(database, sql, values)

    def close(self) -> None:
        """Break off what still runs, so that its rows are finished, and close the file."""
        if self._process != os.getpid():
            return  # what runs is a parent's
        for stream in list(self._streams):
            stream.close()
        self._pool.close()

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def lent(self) -> Iterator[Database]:
        """Lend a connection to the hub, for as long as the block lasts."""
        with self._pool.lent() as database:
            yield database

    def _reshape(self, tables: Mapping[str, str], fields: Sequence[str]) -> None:
        from llmctl.engine.maintenance import init  # what init knows: not for every program

        with self.lent() as database:
            init.reshape(database, tables, fields)

    def opened(self, stream: Stream) -> Stream:
        """Remember a stream, to close it with the hub."""
        self._streams.add(stream)
        return stream


def _columns(database: Database, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for custom columns of chats; raise UsageError for one that is not there."""
    custom = database.fields.get("chats", {})
    for name in fields:
        if name not in custom:
            known = ", ".join(custom) or 'none yet; add one with Hub(fields=["chats.NAME:TYPE"])'
            raise UsageError(f'no custom field "{name}" on chats', hint=f"there are: {known}")
    return {name: column_value(name, value, custom[name]) for name, value in fields.items() if value is not None}


def _close(hub: ref[Hub]) -> None:
    found = hub()
    if found is not None:
        found.close()
