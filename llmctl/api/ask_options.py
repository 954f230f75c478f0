"""Turn the keywords of the Python API into a TurnPlan, as the command line does with its flags."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.api.agent import FunctionTool
from llmctl.api.keywords import TurnKeywords
from llmctl.api.middleware import HOOKS, Middleware
from llmctl.core import schema_dsl
from llmctl.core.chat import File
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.model_options import is_model_option
from llmctl.core.options import TurnOptions, check_value, options_for
from llmctl.core.stored_values import loads
from llmctl.engine.billing.cost import CommandBudget, cost_limits
from llmctl.engine.chats.attachments import attachment_from_bytes, read_attachment
from llmctl.engine.connections.target import Target
from llmctl.engine.runtime import ApprovalReply, ApprovalRequest, CallerInfo, RuntimeEnv, ToolGrant, Toolset
from llmctl.engine.tools import toolset
from llmctl.engine.tools.toolset import FunctionSpec
from llmctl.engine.turn.plan import Hooks, TurnPlan, UserInput, choose_target, load_schema, resolve_options
from llmctl.store.database import Database
from llmctl.store.records.settings import list_changed
from llmctl.store.records.types import ChatRow

#: Keys of ``persistence`` and the kinds of rows they control.
_KINDS = {"tool_calls": "tool-calls", "requests": "requests", "network": "network", "streams": "streams"}

#: (function, keyword) -> the keyword that was meant; the empty function is any.
_KEYWORD_HINTS = {
    ("Hub", "provider"): "pass it to create_chat(connection=...); API keys come from the environment or env=",
    ("Hub", "model"): "pass it to create_chat(model=...)",
    ("Hub", "table_names"): 'pass tables={"chats": "assistant_chats"}',
    ("create_agent_session", "model"): "set it in the class, or for this session: session.having(model=...)",
    ("", "provider"): 'pass connection="openai", or model="openai:gpt-4"',
    ("", "table_names"): 'pass it to the hub: Hub(tables={"chats": "assistant_chats"})',
    ("", "tables"): 'pass it to the hub: Hub(tables={"chats": "assistant_chats"})',
}

#: Decides whether a tool call may run: True allows it once, False denies it once.
Confirm = Callable[[ApprovalRequest], ApprovalReply | bool]


class AskOptions(TurnKeywords, total=False):
    """Keywords of ``ask`` and ``stream``. Given to a chat, they apply to all its turns.

    ``files`` are paths, URLs or bytes; ``tools`` are functions, tools, or names of tools in the hub as ``NAME`` or
    ``NAME:PERMISSION``, or classes and objects with ``name``, ``description``, ``schema`` (or ``definition``) and
    ``execute``; ``schema`` is a JSON Schema, its short form (``"name, age int"``), a pydantic model, a dataclass or a
    TypedDict.
    """

    #: A system prompt from this turn on.
    instructions: str | None
    #: Values for an agent's instructions in this turn only.
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatDefaults:
    """What a chat object holds besides its rows, because only code can: functions, hooks, options."""

    options: AskOptions
    middlewares: tuple[Middleware, ...] = ()
    confirm: Confirm | None = None
    #: Appended to an agent's instructions.
    extra_instructions: tuple[str, ...] = ()

    def merged_with(self, options: AskOptions) -> AskOptions:
        """Return the options of a turn: its own take precedence over the chat's; lists and tables are joined."""
        merged: Any = {**self.options, **options}
        for entry in options_for("python"):
            keyword = entry.keyword or entry.name
            below, above = self.options.get(keyword), options.get(keyword)
            if below and above and entry.appends:
                merged[keyword] = [*below, *above]  # type: ignore[misc]
            elif below and above and entry.kind == "pairs":
                merged[keyword] = {**below, **above}  # type: ignore[dict-item]
        result: AskOptions = merged
        return result


def build_hooks(middlewares: Iterable[Middleware]) -> Hooks:
    """Return the hooks of all middlewares; those after a request run in reverse order."""
    all_middlewares = list(middlewares)
    found = {name: tuple(filter(None, (_find_hook(one, name) for one in all_middlewares))) for name in HOOKS}
    return Hooks(
        before_request=found["before_request"],
        after_response=found["after_response"][::-1],
        tool_start=found["on_tool_start"],
        tool_end=found["on_tool_end"][::-1],
        error=found["on_error"][::-1],
    )


def hook_middleware(name: str, function: Callable[[Any], Any]) -> Middleware:
    """Return a middleware with a single hook."""
    one = Middleware()
    setattr(one, name, function)
    return one


def parse_prompt(prompt: str | None, options: AskOptions) -> UserInput:
    """Return the user input; raise UsageError for a prompt that is empty or not a string."""
    if prompt is not None and (not isinstance(prompt, str) or not prompt.strip()):
        raise UsageError("the prompt is empty" if isinstance(prompt, str) else "the prompt must be a string")
    return UserInput(prompt, tuple(map(_parse_file, options.get("files", ()))), options.get("instructions"))


def to_turn_options(options: AskOptions) -> TurnOptions:
    """Return the options of a turn, without files and tools; raise UsageError for values that a flag refuses, too."""
    values: dict[str, Any] = {}
    for entry in options_for("python"):
        keyword = entry.keyword or entry.name
        value = options.get(keyword)
        if value is None or entry.name in ("attach", "tools"):  # these may be bytes and functions
            continue
        value = parse_schema(value) if entry.kind == "schema" else check_value(entry, value, keyword)
        values[entry.name] = not value if entry.name == f"no_{keyword}" else value
    references = {key: str(value) for key, value in values.get("references", {}).items()}
    return TurnOptions(**{**values, "references": references})


def build_plan(
    database: Database,
    chat: ChatRow | None,
    user_input: UserInput,
    options: TurnOptions,
    runtime_env: RuntimeEnv,
    own: Callable[[], Target] | None = None,
) -> TurnPlan:
    """Return the plan of a turn, without its tools. ``own`` returns the agent's own target."""
    settings = list_changed(database)
    resolved = resolve_options(options, settings, loads(chat.settings, {}) if chat else {}, env=runtime_env.env)
    limit = resolved.max_cost
    return TurnPlan(
        chat=chat,
        target=choose_target(database, resolved, chat, runtime_env.env, own),
        input=user_input,
        options=resolved,
        caller=CallerInfo.from_process(runtime_env.env, script="python").restrict_to(settings.get("audit.context")),
        runtime=runtime_env,
        cost_limits=cost_limits(settings, None if limit is None else CommandBudget(limit)),
    )


def add_tools(
    database: Database, plan: TurnPlan, tools: Iterable[Any], confirm: Confirm | None, hooks: Hooks
) -> TurnPlan:
    """Return the plan with its hooks, the chat's stored tools and the given ones."""
    stored = loads(plan.chat.settings, {}).get("tools", {}) if plan.chat else {}
    requested = [grant for one in tools for grant in parse_tool(database, one)]
    chat_tools = [grant for name, permission in stored.items() for grant in _chat_tools(database, name, permission)]
    granted = Toolset(
        approved=frozenset(plan.options.approve),
        ask=_approval_prompter(confirm) if confirm else None,
        on_start=hooks.notify_tool_start,
        on_end=hooks.notify_tool_end,
    )
    return plan.replace(tools=granted.with_grants(chat_tools).with_grants(requested), hooks=hooks)


def parse_tool(database: Database, tool: Any) -> tuple[ToolGrant, ...]:
    """Return the grant of a function or of a tool in the hub, or those of all tools of a server or a pattern."""
    if isinstance(tool, str):
        return toolset.resolve_grants(database, dict([toolset.parse_grant(tool)]))
    if isinstance(tool, FunctionTool):
        more = {name: getattr(tool, name) for name in ("name", "description", "schema", "permission", "timeout")}
        return (toolset.grant_function(FunctionSpec(tool.function, **more)),)
    if callable(tool) or hasattr(tool, "execute"):
        return (toolset.grant_function(toolset.describe_tool(tool)),)
    raise UsageError(
        f'not a tool: "{tool!r}"', hint="pass a function, a class with execute(), or the name of a tool in the hub"
    )


def parse_persistence(persistence: Mapping[str, bool] | None) -> frozenset[str]:
    """Return the kinds of rows that are not stored."""
    stored = {_to_snake_case(word): is_stored for word, is_stored in (persistence or {}).items()}
    for word in stored:
        if word not in _KINDS:
            raise UsageError(f'unknown persistence key "{word}"', hint=f"available: {', '.join(_KINDS)}")
    return frozenset(_KINDS[word] for word, is_stored in stored.items() if not is_stored)


def unknown_keyword_error(function: str, name: str, value: Any, known: Iterable[str] = ()) -> UsageError:
    """Return the error for a keyword that a function of the API does not have, with the one that was meant.

    ``known`` are the custom columns that it takes besides its own keywords.
    """
    snake = _to_snake_case(name)
    hint = _KEYWORD_HINTS.get((function, snake)) or _KEYWORD_HINTS.get(("", snake))
    if hint is None and is_model_option(name):
        shown = value if isinstance(value, int | float) else "..."
        hint = f'pass it as a model option: options={{"{name}": {shown}}}'
    if hint is None and snake in AskOptions.__optional_keys__:
        hint = f"pass it to ask() or having(): {snake}=..."
    if hint is None and function != "Hub":
        fields = ", ".join(known) or 'none yet; add one with Hub(fields=["chats.NAME:TYPE"])'
        return UsageError(f'no custom field "{name}" on chats', hint=f"known fields: {fields}")
    return UsageError(f'{function}() has no keyword "{name}"', hint=hint)


def _to_snake_case(word: str) -> str:
    """Return ``toolCalls`` as ``tool_calls``."""
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in word)


def parse_schema(schema: Any) -> Mapping[str, Any] | None:
    """Return a JSON Schema from a schema, its JSON, its short form, or a class."""
    if isinstance(schema, str):
        try:
            schema = loads(schema) if schema.lstrip().startswith("{") else schema_dsl.parse(schema)
        except ValueError as error:
            raise UsageError(f"schema is not valid JSON: {error}") from error
    else:
        schema = toolset.describe_class(schema)
    if schema is not None and not isinstance(schema, Mapping):
        raise UsageError("schema must be a JSON Schema")
    return load_schema(schema)


def _parse_file(file: Any) -> File:
    if isinstance(file, File):
        return file
    return attachment_from_bytes(file) if isinstance(file, bytes) else read_attachment(os.fspath(file))


def _chat_tools(database: Database, name: str, permission: Any) -> tuple[ToolGrant, ...]:
    try:
        return toolset.resolve_grants(database, {name: permission}, is_stored=True)
    except NotFoundError:  # the tool was deleted; the chat continues without it
        return ()


def _approval_prompter(confirm: Confirm) -> Callable[[ApprovalRequest], ApprovalReply]:
    def ask(question: ApprovalRequest) -> ApprovalReply:
        reply = confirm(question)
        return ("once" if reply else "no") if isinstance(reply, bool) else reply

    return ask


def _find_hook(one: Middleware, name: str) -> Any:
    """Return a hook if the middleware overrides the empty one of :class:`Middleware`."""
    found = getattr(one, name, None)
    return None if getattr(found, "__func__", None) is getattr(Middleware, name) else found
