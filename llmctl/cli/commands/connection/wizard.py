"""``connection add`` on a terminal: ask for provider, name, key and model, and try the key before anything is stored.

Every question has an answer for Enter; Ctrl-C leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llmctl.cli.app import App
from llmctl.cli.commands.connection import KeyChoice, KeyFlags, ask_key, choose_key
from llmctl.cli.console.prompts import ask_line
from llmctl.cli.console.terminal import safe_line, terminal_width, truncate
from llmctl.core.environment import is_switch_on
from llmctl.core.errors import ConfigError, DeniedError, LlmctlError, UsageError
from llmctl.core.humanize import pluralize
from llmctl.engine.connections import discovery
from llmctl.engine.connections.edit import ConnectionSpec, build_columns, find_provider
from llmctl.providers import PROVIDERS, is_loopback, parse_host
from llmctl.store.database import Database
from llmctl.store.records import connections
from llmctl.store.records.types import ConnectionRow

#: Where the typed key is while it is tried: nowhere on disk.
_TRIAL_VARIABLE = "_TYPED_KEY"
#: Models that are shown at once.
_MAX_MODELS = 20


@dataclass(frozen=True, slots=True)
class Answers:
    """What the wizard was told: the connection, its key, and whether it becomes the default."""

    spec: ConnectionSpec
    key: KeyChoice
    default: bool


def ask_connection(
    app: App, database: Database, spec: ConnectionSpec, flags: KeyFlags, *, default: bool, test: bool | None
) -> Answers:
    """Ask for what the flags do not say, and return it; raise DeniedError if the user stops."""
    spec = _ask_provider(app, database, spec)
    provider = find_provider(spec)
    if not (spec.base_url or provider.base_url or any(app.env.get(name) for name in provider.base_env)):
        example = f", such as {provider.base_example}" if provider.base_example else ""
        spec = replace(spec, base_url=_ask(app, f"Base URL{example}", "decide later") or None)
    spec = _ask_name(app, database, spec)
    key = choose_key(app, spec, flags)
    if key.reference and key.reference.startswith("env:"):
        app.console.note(f"its key is in {key.reference.removeprefix('env:')}")
    models: Sequence[str] | None = None
    if test is not False and can_try(app, spec, key):
        key, models = try_key(app, database, spec, key)
    if models and not spec.model:
        spec = replace(spec, model=_ask_model(app, models, provider.default_model))
    return Answers(spec, key, default or _ask_default(app, database, str(spec.name)))


def try_key(
    app: App, database: Database, spec: ConnectionSpec, key: KeyChoice
) -> tuple[KeyChoice, Sequence[str] | None]:
    """Ask the host for its models, and on failure the user what to do; return the key and the models.

    None for the models: they are not known, and the connection is to be added all the same.
    """
    while True:
        try:
            host = parse_host(_target_url(spec, app))
            app.console.note(f"asking {host} for its models, which costs nothing")
            models = list_models(app, database, spec, key)
        except LlmctlError as error:
            app.console.note(error.message)
            match _ask_after_failure(app, error, has_typed_key=bool(key.typed)):
                case "keep":
                    return key, None
                case "key":
                    key = KeyChoice(typed=ask_key(app, spec))
                    if key.typed is None:
                        return key, None
        else:
            app.console.note(f"it works: {pluralize(len(models), 'model')}" if models else "it works")
            return key, models


def can_try(app: App, spec: ConnectionSpec, key: KeyChoice) -> bool:
    """Return whether there is a host to ask that may be asked, and a key if it needs one."""
    try:
        provider = find_provider(spec)
        url = _target_url(spec, app)
    except LlmctlError:  # said when the connection is added
        return False
    has_key = bool(key.reference or key.typed or provider.local or provider.auth == "none" or spec.headers)
    is_allowed = is_loopback(url) or not is_switch_on(app.env, "LLMCTL_OFFLINE")
    return bool(url) and has_key and is_allowed and provider.name != "echo"


def list_models(app: App, database: Database, spec: ConnectionSpec, key: KeyChoice) -> list[str]:
    """Return the models of a connection that is not stored yet; the request leaves no row. Raises what is wrong."""
    from llmctl.engine import connection_test
    from llmctl.engine.connections import target

    env = dict(app.env)
    reference = key.reference
    if key.typed:
        env[_TRIAL_VARIABLE], reference = key.typed, f"env:{_TRIAL_VARIABLE}"
    columns = build_columns(replace(spec, key=reference), env)
    row = ConnectionRow(id="", created_at="", updated_at="", **columns)
    trial = target.from_row(row, env).replace(row=None, connection_id=None)
    runtime = app.runtime_env().replace(env=env, confirm=None)
    # Without a model of the user's the provider's default is only a suggestion.
    ask_host = connection_test.check_connection if spec.model else connection_test.list_models
    listing = ask_host(database, trial, runtime, record=False)
    return [str(model["id"]) for model in listing.models]


def _target_url(spec: ConnectionSpec, app: App) -> str:
    from llmctl.engine.connections import target

    columns = build_columns(replace(spec, key=None, name=spec.name or "new"), app.env)
    return target.from_row(ConnectionRow(id="", created_at="", updated_at="", **columns), app.env).base_url


# --- questions


def _ask_provider(app: App, database: Database, spec: ConnectionSpec) -> ConnectionSpec:
    if spec.provider or spec.base_url:
        return spec
    found = discovery.discover(app.env)
    there = {row["name"] for row in connections.list_(database)}
    reasons = {one.provider: one.reason + (", already added" if one.name in there else "") for one in found}
    others = [name for name in PROVIDERS.names() if name not in reasons and name not in ("echo", "compatible")]
    names = [*reasons, *others, "compatible"]
    hosts = {name: parse_host(PROVIDERS.load(name).base_url) or "asks for your own base URL" for name in others}
    _show_list(app, names, {**reasons, **hosts, "compatible": "any other OpenAI-compatible host"})
    new = next((one.provider for one in found if one.name not in there), None)
    name = _choose(app, "Provider: number or name", names, new)
    server = next((one for one in found if one.provider == name and PROVIDERS.load(name).local), None)
    own_url = server.base_url if server and server.base_url != PROVIDERS.load(name).base_url else None
    return replace(spec, provider=name, base_url=own_url, model=spec.model or (server.model if server else None))


def _choose(app: App, question: str, names: Sequence[str], default: str | None) -> str:
    """Return one of the names, by number, name or unambiguous part of it."""
    while True:
        text = _ask(app, question, default or "stop").lower()
        if not text and default is None:
            raise DeniedError("cancelled: nothing was added")
        if not text:
            return str(default)
        if text.isdecimal() and 0 < int(text) <= len(names):
            return names[int(text) - 1]
        hits = [name for name in names if name == text] or [name for name in names if text in name]
        if len(hits) == 1:
            return hits[0]
        app.console.note(f'"{safe_line(text)}" fits {", ".join(hits)}' if hits else f'no provider "{safe_line(text)}"')


def _ask_name(app: App, database: Database, spec: ConnectionSpec) -> ConnectionSpec:
    """Return the spec with a name that is free and that ``-m NAME:MODEL`` can say."""
    if spec.name:
        return spec
    wanted = spec.provider or parse_host(spec.base_url or "") or "connection"
    names = [wanted, *(f"{wanted}-{number}" for number in range(2, 1000))]
    free = next(name for name in names if connections.find_by_name(database, name) is None)
    while True:
        name = _ask(app, "Name of the connection", free) or free
        try:
            build_columns(replace(spec, name=name), app.env)
        except UsageError as error:
            app.console.note(f"{error.message}: {error.hint}" if error.hint else error.message)
            continue
        if connections.find_by_name(database, name) is None:
            return replace(spec, name=name)
        app.console.note(f'connection "{name}" already exists')


def _ask_after_failure(app: App, error: LlmctlError, *, has_typed_key: bool) -> Literal["key", "again", "keep"]:
    """Return what to do about a connection that does not work; raise DeniedError to stop."""
    asks_key = isinstance(error, ConfigError) and has_typed_key
    first = "k: type the key again" if asks_key else "t: try again"
    while True:
        text = _ask(app, f"{first}, a: add it as it is, s: stop", "k" if asks_key else "a").lower()
        match text[:1] or ("k" if asks_key else "a"):
            case "k" if asks_key:
                return "key"
            case "t":
                return "again"
            case "a":
                return "keep"
            case "s":
                raise DeniedError("cancelled: nothing was added")


def _ask_model(app: App, models: Sequence[str], default: str | None) -> str | None:
    """Return a model of the list, filtered by what is typed; the default for Enter."""
    chosen = default if default in models else discovery.pick_chat_model(list(models))
    shown = sorted(models, key=lambda model: (discovery.pick_chat_model([model]) is None, model))
    while True:
        _show_list(app, shown[:_MAX_MODELS], {})
        if len(shown) > _MAX_MODELS:
            app.console.note(f"{_MAX_MODELS} of {len(shown)}; type a part of the name to see fewer")
        text = _ask(app, "Model: number, name or part of it", chosen or "decide later")
        if not text:
            return chosen
        if text.isdecimal() and 0 < int(text) <= min(len(shown), _MAX_MODELS):
            return shown[int(text) - 1]
        hits = [model for model in models if text.lower() in model.lower()]
        if text in models or len(hits) == 1:
            return text if text in models else hits[0]
        if not hits:
            app.console.note(f'no model has "{safe_line(text)}" in its name')
        shown = hits or shown


def _ask_default(app: App, database: Database, name: str) -> bool:
    from llmctl.engine.connections import trust

    current = trust.default_name(database, app.env)
    if current in (None, "echo"):
        return _ask(app, "Make it the default? y or n", "y").lower()[:1] in ("", "y")
    return _ask(app, f'Make it the default instead of "{safe_line(str(current))}"? y or n', "n").lower()[:1] == "y"


def _ask(app: App, question: str, default: str) -> str:
    """Return a typed line, empty for Enter; raise DeniedError for the end of input."""
    answer = ask_line(app.console, f"{question} [{safe_line(default)}]: ")
    if answer is None:
        raise UsageError("no terminal to ask on", hint="llmctl connection add openai --key-stdin < key.txt")
    if not answer:
        raise DeniedError("cancelled: nothing was added")
    return answer.strip()


def _show_list(app: App, names: Sequence[str], texts: dict[str, str]) -> None:
    width = terminal_width(app.env, app.console.io.stderr)
    margin = max(map(len, names), default=0) + 2
    for number, name in enumerate(names, 1):
        text = texts.get(name, "")
        line = truncate(safe_line(f"{number:>4}  {name.ljust(margin) if text else name}{text}"), width - 1)
        app.console.io.write_stderr(line.rstrip() + "\n")
