"""From what a program asks for to the plan of a turn: the same plan that the command line makes of its flags."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from llmctl.api.agent import FunctionTool
from llmctl.api.middleware import HOOKS, Middleware
from llmctl.core import schema_dsl
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.messages import File
from llmctl.core.stored_json import loads
from llmctl.engine.billing.limits import Purse, caps
from llmctl.engine.chats.attach_files import file_of, read_file
from llmctl.engine.connections import target
from llmctl.engine.connections.target import Target
from llmctl.engine.tools import functions, toolset
from llmctl.engine.tools.functions import Function
from llmctl.engine.tools.toolset import Grant, Question, Reply, Tools
from llmctl.engine.turn import validate_output
from llmctl.engine.turn.hooks import Hooks
from llmctl.engine.turn.options import Ask, Keep, Manner, Origin, Surroundings, inherited
from llmctl.engine.turn.plan import Plan
from llmctl.store.database import Database, Row
from llmctl.store.records.settings import chosen

#: What is not kept, by the words of ``persistence``.
_KINDS = {"tool_calls": "tool-calls", "requests": "requests", "network": "network", "streams": "streams"}

#: Answers the question whether a call may run: True is this time, False not this time.
Confirm = Callable[[Question], Reply | bool]


class Asking(TypedDict, total=False):
    """How something is asked: keywords of ``ask`` and ``stream``; given to a chat they hold for all its turns."""

    #: Paths, URLs, bytes.
    files: Sequence[Any]
    #: A system prompt from this turn on.
    instructions: str | None
    #: Functions, tools, names of the hub's as ``NAME`` or ``NAME:PERMISSION``.
    tools: Sequence[Any]
    #: Names of tools that may run without a question in this turn.
    approve: Sequence[str]
    model: str | None
    connection: str | None
    #: Under the names that users type: temperature, max_tokens …
    options: Mapping[str, Any]
    #: ``none low medium high`` or a number of tokens.
    thinking: str | int | None
    #: A JSON Schema, its short form (``"name, age int"``), or a class with ``model_json_schema``.
    schema: Any
    fix: int | None
    max_steps: int | None
    max_cost: float | None
    history: int | None
    timeout: float | None
    retries: int | None
    wait: float | None
    fallback: Sequence[str]
    tag: str | None
    stream: bool
    rollback: bool
    metadata: Mapping[str, Any]
    references: Mapping[str, str]
    #: Values for an agent's instructions in this turn only.
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Habits:
    """What a chat object has beside its rows: only code can hold it."""

    asking: Asking
    middlewares: tuple[Middleware, ...] = ()
    confirm: Confirm | None = None
    #: Added to what an agent is told.
    added: tuple[str, ...] = ()

    def over(self, asking: Asking) -> Asking:
        """Return what holds for a turn: the turn's own words before the chat's."""
        found: Any = {**self.asking, **asking}
        for name in ("tools", "approve"):
            found[name] = [*self.asking.get(name, ()), *asking.get(name, ())]  # type: ignore[misc]
        for name in ("options", "metadata"):
            found[name] = {**self.asking.get(name, {}), **asking.get(name, {})}  # type: ignore[dict-item]
        result: Asking = found
        return result


def hooks_of(middlewares: Iterable[Middleware]) -> Hooks:
    """Return what the middlewares define; on the way back the last one comes first."""
    forth = list(middlewares)
    found = {name: tuple(filter(None, (_hook(one, name) for one in forth))) for name in HOOKS}
    return Hooks(
        before_request=found["before_request"],
        after_response=found["after_response"][::-1],
        tool_start=found["on_tool_start"],
        tool_end=found["on_tool_end"][::-1],
        error=found["on_error"][::-1],
    )


def heard(name: str, function: Callable[[Any], Any]) -> Middleware:
    """Return a middleware that is one hook."""
    one = Middleware()
    setattr(one, name, function)
    return one


def ask_of(prompt: str | None, asking: Asking) -> Ask:
    """Return what is said; raise UsageError for a prompt that is empty, or no text."""
    if prompt is not None and (not isinstance(prompt, str) or not prompt.strip()):
        raise UsageError("the prompt is empty" if isinstance(prompt, str) else "a prompt is a text")
    return Ask(prompt, tuple(map(_file, asking.get("files", ()))), asking.get("instructions"))


def plan(
    database: Database, chat: Row | None, ask: Ask, asking: Asking, own: Target | None, around: Surroundings
) -> Plan:
    """Return the plan of a turn, as yet without its tools. ``own`` is what the other party talks to by itself."""
    settings = chosen(database)
    manner, keep = _manner(asking, settings), _keep(asking, settings)
    manner, keep = inherited(manner, keep, loads(chat["settings"], {}) if chat else {})
    return Plan(
        chat=chat,
        target=_target(database, chat, asking, own, around.env),
        ask=ask,
        manner=manner,
        keep=keep,
        origin=origin().limited(settings.get("audit.context")),
        around=around,
    )


def with_tools(database: Database, plan: Plan, asking: Asking, confirm: Confirm | None, hooks: Hooks) -> Plan:
    """Return the plan with the tools that the chat keeps and those that are asked for, and with its hooks."""
    kept = loads(plan.chat["settings"], {}).get("tools", {}) if plan.chat else {}
    given = [grant_of(database, one) for one in asking.get("tools", ())]
    had = [grant for name, permission in kept.items() for grant in _kept(database, name, permission)]
    tools = Tools(
        approved=frozenset(asking.get("approve", ())),
        ask=_asker(confirm) if confirm else None,
        on_start=hooks.started,
        on_end=hooks.ended,
    )
    return replace(plan, tools=tools.and_also(had).and_also(given), hooks=hooks)


def grant_of(database: Database, wanted: Any) -> Grant:
    """Return a tool: a function of the program's, or one of the hub's by name."""
    if isinstance(wanted, str):
        return toolset.resolve(database, dict([toolset.parsed(wanted)]))[0]
    if isinstance(wanted, FunctionTool):
        more = {name: getattr(wanted, name) for name in ("name", "description", "schema", "permission", "timeout")}
        return functions.granted(Function(wanted.function, **more))
    if callable(wanted):
        return functions.granted(Function(wanted))
    raise UsageError(f'"{wanted!r}" is no tool', hint="a function, or the name of a tool in the hub")


def without_of(persistence: Mapping[str, bool] | None) -> frozenset[str]:
    """Return the kinds of rows that are not kept."""
    for word in persistence or {}:
        if word not in _KINDS:
            raise UsageError(f'persistence knows no "{word}"', hint=f"there are {', '.join(_KINDS)}")
    return frozenset(_KINDS[word] for word, is_kept in (persistence or {}).items() if not is_kept)


def origin() -> Origin:
    """Return where a turn of a program is asked for."""
    try:
        folder = os.getcwd().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except OSError:  # it was removed
        folder = None
    return Origin(folder=folder, script="python", host=os.uname().nodename)


def _manner(asking: Asking, settings: Mapping[str, Any]) -> Manner:
    usual = Manner()
    limit = asking.get("max_cost")
    return Manner(
        options=asking.get("options", {}),
        thinking=asking.get("thinking"),
        schema=schema_of(asking.get("schema")),
        fix=asking.get("fix") or 0,
        stream=asking.get("stream", True),
        timeout_s=asking.get("timeout") or settings.get("timeout"),
        wait_s=asking.get("wait") or 0.0,
        retries=_first(asking.get("retries"), settings.get("retries"), usual.retries),
        max_steps=_first(asking.get("max_steps"), settings.get("max_steps"), usual.max_steps),
        history=asking.get("history"),
        caps=caps(settings, None if limit is None else Purse(limit)),
    )


def _keep(asking: Asking, settings: Mapping[str, Any]) -> Keep:
    return Keep(
        without=frozenset() if settings.get("stream.keep", True) else frozenset({"streams"}),
        rollback=asking.get("rollback", False) or settings.get("rollback", False),
        metadata=asking.get("metadata", {}),
        references=asking.get("references", {}),
        tag=asking.get("tag"),
    )


def _target(database: Database, chat: Row | None, asking: Asking, own: Target | None, env: Mapping[str, str]) -> Target:
    """Return what to talk to: what is asked for, then the other party's own, then environment and settings."""
    model, connection = asking.get("model"), asking.get("connection")
    if connection:
        return target.with_model(target.of_connection(database, connection, env), model)
    if model:
        return target.resolve(database, model, env)
    return own or (target.of_chat(database, chat, env) if chat else None) or target.resolve(database, None, env)


def schema_of(given: Any) -> Mapping[str, Any] | None:
    """Return the schema that is meant: a JSON Schema, its text, its short form, or a class that has one."""
    if given is None:
        return None
    if isinstance(given, str):
        try:
            given = loads(given) if given.lstrip().startswith("{") else schema_dsl.parse(given)
        except ValueError as error:
            raise UsageError(f'"schema" holds no JSON: {error}') from error
    elif hasattr(given, "model_json_schema"):
        given = given.model_json_schema()
    if not isinstance(given, Mapping):
        raise UsageError('"schema" takes a JSON Schema')
    validate_output.check_schema(given)
    return given


def _file(given: Any) -> File:
    if isinstance(given, File):
        return given
    return file_of(given) if isinstance(given, bytes) else read_file(os.fspath(given))


def _kept(database: Database, name: str, permission: Any) -> tuple[Grant, ...]:
    try:
        return toolset.resolve(database, {name: permission})
    except NotFoundError:  # it is gone; the chat goes on without it
        return ()


def _asker(confirm: Confirm) -> Callable[[Question], Reply]:
    def ask(question: Question) -> Reply:
        reply = confirm(question)
        return ("once" if reply else "no") if isinstance(reply, bool) else reply

    return ask


def _hook(one: Middleware, name: str) -> Any:
    """Return a hook that is more than the empty one of :class:`Middleware`."""
    found = getattr(one, name, None)
    return None if getattr(found, "__func__", None) is getattr(Middleware, name) else found


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
