"""What one turn is made of before it begins: input, options, and the hooks of the program around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmctl.core.chat import ChatRequest, ChatResponse, File, Message, Text
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.options import NULL, TURN_OPTIONS, TurnOptions, options_for, parse_json, parse_text
from llmctl.core.redaction import find_secret_values
from llmctl.core.stored_values import assign_fields
from llmctl.core.values import Value
from llmctl.engine.billing.cost import CostLimits
from llmctl.engine.connections import target as connection_target
from llmctl.engine.connections.target import Env, Target
from llmctl.engine.runtime import AgentContext, CallerInfo, RuntimeEnv, ToolEvent, Toolset
from llmctl.store.database import Database
from llmctl.store.records.types import ChatRow


class UserInput(Value):
    """What the user says. Without prompt and messages the turn resumes what the rows say is unfinished."""

    prompt: str | None = None
    files: tuple[File, ...] = ()
    system: str | None = None
    #: A conversation to start with, oldest first; its last message is the one to answer.
    messages: tuple[Message, ...] = ()

    def to_messages(self) -> tuple[Message, ...]:
        """Return the messages that the turn adds to the conversation, oldest first."""
        system = () if self.system is None else (Message.from_text("system", self.system),)
        if self.prompt is None and not self.files:
            return (*system, *self.messages)
        text = (Text(self.prompt),) if self.prompt else ()
        return (*system, *self.messages, Message("user", (*text, *self.files)))

    @property
    def instructions(self) -> str | None:
        """The system prompt from now on, None where it does not change."""
        return next((m.text for m in reversed(self.to_messages()) if m.role == "system"), None)

    @property
    def is_resume(self) -> bool:
        """Whether there is nothing new for the model: the turn resumes what is unfinished."""
        return not any(message.role != "system" for message in self.to_messages())


Observer = Callable[[Any], object]


class Hooks(Value):
    """Functions of the program around llmctl, each kind in calling order, called in the turn's thread.

    Only ``before_request`` can change a turn or make it fail.
    """

    #: Called before every request of a turn; each may return another request. An exception ends the turn, unsent.
    before_request: tuple[Callable[[ChatRequest], ChatRequest | None], ...] = ()
    #: Called with every complete answer of a model.
    after_response: tuple[Observer, ...] = ()
    tool_start: tuple[Observer, ...] = ()
    tool_end: tuple[Observer, ...] = ()
    error: tuple[Observer, ...] = ()

    def change_request(self, request: ChatRequest) -> ChatRequest:
        """Return the request to send."""
        for change in self.before_request:
            request = change(request) or request
        return request

    def notify_response(self, response: ChatResponse) -> None:
        notify(self.after_response, response)

    def notify_tool_start(self, event: ToolEvent) -> None:
        notify(self.tool_start, event)

    def notify_tool_end(self, event: ToolEvent) -> None:
        notify(self.tool_end, event)

    def notify_error(self, error: BaseException) -> None:
        notify(self.error, error)


def notify(observers: Iterable[Observer], value: object) -> None:
    """Call each observer; an exception goes to the logger ``llmctl`` and has no other effect."""
    for observer in observers:
        try:
            observer(value)
        except Exception:
            import logging  # not needed until something goes wrong

            logging.getLogger("llmctl").exception("a hook failed; the turn continues")


class TurnPlan(Value):
    """Everything a turn is made of. ``chat`` is None for a new one."""

    chat: ChatRow | None
    target: Target
    input: UserInput
    #: Resolved: nothing else sets an option any more.
    options: TurnOptions
    caller: CallerInfo
    runtime: RuntimeEnv
    #: False: no text is stored, only the ledger row.
    log: bool = True
    #: Name of a new chat.
    name: str | None = None
    cost_limits: CostLimits = CostLimits()
    tools: Toolset = Toolset()
    #: The agent of the chat, if it has one.
    agent: AgentContext | None = None
    #: The job that this turn's job is a part of.
    parent_job_id: str | None = None
    hooks: Hooks = Hooks()


#: Options that a variable of the environment sets.
_VARIABLES = {"cache": "LLMCTL_CACHE"}


def resolve_options(
    options: TurnOptions, settings: Mapping[str, Any], chat_settings: Mapping[str, Any] | None = None, *, env: Env
) -> TurnOptions:
    """Return the options of a turn: those given, then the chat's, the environment's, the hub's; the rest are defaults.

    The schema is loaded. Raises UsageError for options that contradict each other.
    """
    chat = chat_settings or {}
    stored = TurnOptions(
        options=chat.get("options"), thinking=chat.get("thinking"), no_persist=frozenset(chat.get("without", ()))
    )
    own = {entry.name: settings[entry.name] for entry in options_for("setting") if entry.name in settings}
    set_in_env = {name: variable for name, variable in _VARIABLES.items() if env.get(variable)}
    own |= {name: parse_text(TURN_OPTIONS[name], env[variable], variable) for name, variable in set_in_env.items()}
    unkept = None if settings.get("stream.keep", True) else frozenset({"streams"})
    resolved = options.over(stored).over(TurnOptions(**own, no_persist=unkept))
    if "fix" in options.to_dict() and resolved.schema is None:
        raise UsageError("--fix requires --schema")
    if resolved.refresh and resolved.cached_only:
        raise UsageError("--refresh and --cached-only cannot be combined")
    thinking = None if resolved.thinking == NULL else resolved.thinking
    return resolved.replace(schema=load_schema(resolved.schema), thinking=thinking)


def assign_custom_fields(database: Database, options: TurnOptions) -> TurnOptions:
    """Return the options with the values of ``--field`` and ``--metadata`` that fill custom columns of the chat."""
    metadata, fields = assign_fields(options.metadata, options.fields, database.fields.get("chats", {}))
    references: dict[str, str | None] = {}
    if options.references:
        from llmctl.store.records import record_links  # most turns have none

        references = record_links.resolve_targets(database, options.references)
    return options.replace(metadata=metadata, fields=fields, references=references)


def choose_target(
    database: Database,
    options: TurnOptions,
    chat: ChatRow | None,
    env: Env,
    own: Callable[[], Target] | None = None,
) -> Target:
    """Return where a turn goes: as its options say, else its agent (``own``), its chat, the environment, the hub."""
    if options.connection:
        return connection_target.with_model(
            connection_target.for_connection(database, options.connection, env), options.model
        )
    if options.model:
        return connection_target.resolve(database, options.model, env)
    if own:
        return own()
    chat_target = connection_target.for_chat(database, chat, env) if chat else None
    return chat_target or connection_target.resolve(database, None, env)


def load_schema(schema: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Load ``--schema``: a JSON Schema, its JSON, its short form, or a file with one of these.

    An existing file of that name takes precedence. Raises UsageError for an invalid schema, NotFoundError for a
    missing file.
    """
    if schema is None:
        return None
    loaded = schema if isinstance(schema, Mapping) else _parse_schema(*_read_schema_text(schema))
    from llmctl.tools import json_schema  # the validator: only for turns with a schema

    json_schema.validate_schema(loaded)
    return loaded


def _read_schema_text(value: str) -> tuple[str, str]:
    """Return the text of a schema and its source, for messages."""
    if value.lstrip().startswith("{"):
        return value, "--schema"
    try:
        from llmctl.core.text_files import read_text_file  # only with a schema

        return read_text_file(value), value
    except NotFoundError:
        if _looks_like_path(value):
            raise
    return value, "--schema"


def _looks_like_path(value: str) -> bool:
    """Return whether a value that is not a readable file was meant as a path."""
    return os.path.exists(value) or ((value.endswith(".json") or os.sep in value) and not set(value) & set(" ,\n:"))


def _parse_schema(text: str, source: str) -> Mapping[str, Any]:
    if not text.lstrip().startswith("{"):
        from llmctl.core import schema_dsl  # only for a schema in the short form

        return schema_dsl.parse(text)
    value = parse_json(text, source)
    if not isinstance(value, dict):
        raise UsageError(f'"{source}" is not a JSON Schema')
    return value


def require_chat_model(target: Target) -> None:
    """Raise UsageError for a connection whose model cannot chat."""
    if target.type in ("embedding", "moderation"):
        raise UsageError(
            f'the connection "{target.connection}" is for {target.type}, not for chats',
            hint=f"choose a model: -m {target.connection}:MODEL"
            + ("; or: llmctl embed" * (target.type == "embedding")),
            reason="no_chat",
        )


def list_option_secrets(plan: TurnPlan) -> tuple[str, ...]:
    """Return the secrets among the model options, such as ``-o api_key=...``: they are sent, and stored nowhere."""
    return tuple(find_secret_values(_merge_model_options(plan)))


def _merge_model_options(plan: TurnPlan) -> dict[str, Any]:
    return {**plan.target.options, **plan.target.alias_options, **plan.options.options}


def build_chat_request(plan: TurnPlan, messages: tuple[Message, ...]) -> ChatRequest:
    """Return the request for these messages: the turn's options override the alias's and the connection's.

    An option that is null takes back what those set.
    """
    options = _merge_model_options(plan)
    return ChatRequest(
        model=plan.target.model,
        messages=messages,
        stream=not plan.options.no_stream,
        options={name: value for name, value in options.items() if value is not None},
        thinking=plan.options.thinking,
        shows_thinking=plan.options.show_thinking,
        tools=plan.tools.specs(),
        schema=plan.options.schema,
    )
