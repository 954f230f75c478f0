"""The hub for Python programs: ``from llmctl import Hub``. Same engine, rows and guarantees as the command line."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Never, Unpack
from weakref import ref

from llmctl.api import ask_options
from llmctl.api.agent import Agent
from llmctl.api.agent_session import AgentSession
from llmctl.api.ask_options import AskOptions, ChatDefaults, Confirm
from llmctl.api.chat import Chat
from llmctl.api.middleware import Middleware
from llmctl.api.pool import ConnectionPool
from llmctl.api.runtime import Runtime
from llmctl.core import environment, time_ranges
from llmctl.core.clock import now
from llmctl.core.errors import ConfigError, NotFoundError, UsageError
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import new_id, to_column_value
from llmctl.engine.connections import discovery, trust
from llmctl.engine.runtime import RuntimeEnv, current_folder
from llmctl.engine.turn.plan import UserInput
from llmctl.engine.turn.records import chat_row
from llmctl.store import readonly_sql
from llmctl.store.database import Database, Row, Serializer
from llmctl.store.records import chat_summaries, chats
from llmctl.store.stats import group_by as stats_group_by
from llmctl.store.stats import query as stats_query

#: Columns of a chat that only turns write.
_TURN_COLUMNS = (
    "id",
    "created_at",
    "updated_at",
    "last_turn_at",
    "last_turn_folder",
    "last_turn_terminal",
    "instructions",
)


class Hub:
    """An open hub. A context manager: leaving it ends running turns and closes the file.

    ``path`` takes precedence over ``LLMCTL_DB`` and the XDG data folder, like ``--db``; ``":memory:"`` leaves nothing
    on disk. ``env`` replaces the process's environment, where keys are looked up. A missing hub is created, with
    connections for those keys, unless ``create=False`` (then ConfigError). ``tables`` renames tables and ``fields``
    adds columns (``"chats.user_id:text"``); the hub remembers both.

    A hub can be shared by threads: each turn uses its own connection. An in-memory hub belongs to the thread that
    created it.

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
        **unknown: Never,
    ) -> None:
        for name in unknown:
            raise ask_options.unknown_keyword_error("Hub", name, None)
        self.env: Mapping[str, str] = dict(os.environ) if env is None else env
        hub_path = environment.hub_path(os.fspath(path) if path else None, self.env)
        if hub_path is None:
            raise ConfigError("no home folder for the hub", hint="set LLMCTL_DB, or pass a path")
        #: Path of the hub.
        self.path = hub_path
        self.around = RuntimeEnv.from_environ(self.env)
        self.middlewares: list[Middleware] = list(middlewares)
        pool = ConnectionPool(hub_path, environment.state_folder(self.env))
        pool.open(create=create, prepare=lambda database: discovery.connect_environment(database, self.env))
        self._runtime = Runtime(pool, self.env, self.around, self.middlewares)
        with self.lent() as database:
            if database.is_new or database.id is None:
                trust.identify_hub(database, self.env)
        atexit.register(_close_runtime, ref(self._runtime))
        if tables or fields:
            self._apply_names_and_fields(tables or {}, fields)

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
        thinking: str | int | Mapping[str, int] | None = None,
        schema: Any = None,
        persistence: Mapping[str, bool] | None = None,
        confirm: Confirm | None = None,
        middlewares: Sequence[Middleware] = (),
        **fields: Any,
    ) -> Chat:
        """Create a chat and return it; its row exists immediately.

        Model, options, thinking, tools of the hub, persistence and metadata are stored; functions, schema, ``confirm``
        and middlewares are not, and must be passed to :meth:`load_chat` again. ``persistence`` names what is not
        stored, such as ``{"tool_calls": False, "requests": False}``: it is deleted when the turn ends, but usage still
        counts. ``confirm`` decides about tool calls that need permission. Other keywords are custom columns.
        """
        how: AskOptions = {"model": model, "connection": connection, "thinking": thinking, "options": options or {}}
        how |= {"metadata": metadata or {}, "references": references or {}}
        own = [one for one in tools if isinstance(one, str)]
        with self.lent() as database:
            turn_options = ask_options.to_turn_options(how)
            plan = ask_options.build_plan(database, None, UserInput(system=instructions), turn_options, self.around)
            without = ask_options.parse_persistence(persistence)
            own_columns = _custom_columns(database, "create_chat", fields)
            plan = ask_options.add_tools(database, plan, own, None, ask_options.build_hooks(()))
            plan = plan.replace(name=name, options=plan.options.replace(no_persist=without, fields=own_columns))
            row = chat_row(new_id(), plan, Redaction(()), now())
            row = {column: value for column, value in row.items() if column not in _TURN_COLUMNS}
            chat_id = chats.add(database, row | {"description": description}, system=instructions)
        asking: AskOptions = {"tools": [one for one in tools if not isinstance(one, str)], "schema": schema}
        return Chat(self._runtime, chat_id, ChatDefaults(asking, tuple(middlewares), confirm))

    def load_chat(
        self,
        chat: str,
        *,
        confirm: Confirm | None = None,
        middlewares: Sequence[Middleware] = (),
        **how: Unpack[AskOptions],
    ) -> Chat:
        """Return the chat with an id, the beginning of one, or a name. Raises NotFoundError; see :meth:`find_chat`.

        ``last`` is the one that ``llmctl chat -c`` continues in this folder.
        """
        with self.lent() as database:
            row = chats.get_or_last(database, chat, _place())
        if row.type == "agent":
            raise UsageError(
                f'"{chat}" is an agent session', hint=f'load it with load_agent_session(AGENT, "{row.id}")'
            )
        return Chat(self._runtime, row.id, ChatDefaults(how, tuple(middlewares), confirm))

    def find_chat(
        self,
        chat: str,
        *,
        confirm: Confirm | None = None,
        middlewares: Sequence[Middleware] = (),
        **how: Unpack[AskOptions],
    ) -> Chat | None:
        """Return the chat as :meth:`load_chat` does, or None if there is none."""
        try:
            return self.load_chat(chat, confirm=confirm, middlewares=middlewares, **how)
        except NotFoundError as error:
            if error.reason == "ambiguous":
                raise
            return None

    def chats(self, limit: int | None = 20) -> list[Row]:
        """Return chats as records, most recent turn first."""
        with self.lent() as database:
            shape = Serializer(database, "chats")
            return [shape.to_record(row) for row in chat_summaries.list_(database, chat_summaries.ChatFilter(), limit)]

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
        """Create an agent session and return it; its instructions can use ``metadata``.

        The agent is a class, or the name of an agent in the hub.
        """
        with self.lent() as database:
            columns = {"name": name, **_custom_columns(database, "create_agent_session", fields)}
            session = AgentSession._create(self._runtime, database, agent, dict(metadata or {}), columns)
        return session.use(*middlewares).confirmed(confirm)

    def load_agent_session(
        self,
        agent: type[Agent] | str,
        session: str,
        *,
        force: bool = False,
        confirm: Confirm | None = None,
        middlewares: Sequence[Middleware] = (),
    ) -> AgentSession:
        """Return a session by its id or its chat's id, with the class as it is now.

        Raises NotFoundError, and UsageError for a session of another agent, unless ``force`` is set.
        """
        with self.lent() as database:
            loaded = AgentSession._load(self._runtime, database, agent, session, force=force)
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
        """Return usage as ``stats --json`` does; with ``group_by`` it has ``groups`` and ``total``.

        Times are RFC 3339 or as on the command line: ``2026-10-05``, ``7d``, ``2h``.
        """
        begin, end = (time_ranges.parse_time(text) if text else None for text in (since, until))
        keys = group_by.split(",") if isinstance(group_by, str) else list(group_by)
        with self.lent() as database:
            chat_id = chats.get_or_last(database, chat, _place()).id if chat else None
            scope = stats_query.resolve_scope(database, chat_id, agent, connection, begin, end)
            if not any(keys):
                return stats_query.get_total(database, scope)
            rows, total = stats_query.group_totals(database, scope, stats_group_by.build_grouping(database, keys, None))
            return {"groups": rows, "total": total}

    def query(self, sql: str, **values: Any) -> list[Row]:
        """Run one SELECT over the hub's views and tables (``llmctl help sql``); ``:name`` takes a keyword.

        It cannot change anything: UsageError for any other statement.
        """
        with self._runtime.pool.readonly_connection() as database:
            return readonly_sql.query_rows(database, sql, values)

    def close(self) -> None:
        """Interrupt running turns, so that their rows are finished, and close the file."""
        self._runtime.close()

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def lent(self) -> Iterator[Database]:
        """Lend a database connection for the block."""
        with self._runtime.connection() as database:
            yield database

    def _apply_names_and_fields(self, tables: Mapping[str, str], fields: Sequence[str]) -> None:
        from llmctl.engine.maintenance import init  # only for hubs with custom names or fields

        with self.lent() as database:
            init.rename_and_add_fields(database, tables, fields)


def _custom_columns(database: Database, function: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for custom columns of chats; raise UsageError for an unknown one."""
    custom = database.fields.get("chats", {})
    for name, value in fields.items():
        if name not in custom:
            raise ask_options.unknown_keyword_error(function, name, value, custom)
    return {name: to_column_value(name, value, custom[name]) for name, value in fields.items() if value is not None}


def _close_runtime(runtime_ref: ref[Runtime]) -> None:
    runtime = runtime_ref()
    if runtime is not None:
        runtime.close()


def _place() -> chats.Place:
    """Where the turns of this program are recorded: in its folder, without a terminal."""
    return chats.Place(False, current_folder())
