"""``llmctl connection add``."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import (
    BaseUrlOption,
    DataOption,
    DescriptionOption,
    HeaderOption,
    KeyChoice,
    KeyCommandOption,
    KeyEnvOption,
    KeyFileOption,
    KeyFlags,
    KeyKeyringOption,
    KeyStdinOption,
    ModelIdOption,
    ModelOptionsOption,
    ProviderOption,
    TypeOption,
    WireOption,
    choose_key,
    connection_record,
    find_key,
    parse_spec_fields,
    require_free_name,
    with_key,
)
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.core.errors import ConfigError, UsageError
from llmctl.core.signals import defer_signals
from llmctl.core.stored_values import new_id
from llmctl.store import opening
from llmctl.store.database import Database
from llmctl.store.records import connections, settings
from llmctl.store.records.types import ConnectionRow

if TYPE_CHECKING:
    from llmctl.engine.connections.edit import ConnectionSpec


@record_output
def add(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name; also the provider, without --provider.")
    ] = None,
    provider: ProviderOption = None,
    model: ModelIdOption = None,
    type: TypeOption = None,
    base_url: BaseUrlOption = None,
    wire: WireOption = None,
    key_env: KeyEnvOption = None,
    key_command: KeyCommandOption = None,
    key_file: KeyFileOption = None,
    key_keyring: KeyKeyringOption = None,
    key_stdin: KeyStdinOption = False,
    header: HeaderOption = None,
    option: ModelOptionsOption = None,
    data: DataOption = None,
    description: DescriptionOption = None,
    default: Annotated[bool, typer.Option("--default", help="Make it the default connection.")] = False,
    test: Annotated[
        bool | None, typer.Option("--test/--no-test", help="Try the key before it is added. [only on a terminal]")
    ] = None,
) -> None:
    """Add a connection.

    On a terminal, without a name, it asks for everything: provider, key, model. The hub stores where the key is, never
    the key. Without a --key-... option the provider's own variable is used; if that is not set, a terminal prompts for
    the key without echo. A key is tried first by asking for the list of models, which costs nothing; off a terminal
    only with --test, and then a connection that fails is not added.

    Providers: openai, anthropic, gemini, vertex, openrouter, deepseek, mistral, xai, groq, together, fireworks,
    perplexity, cerebras, zai, azure, bedrock, huggingface, ollama, lmstudio, llamacpp, vllm, gpustack, compatible (any
    OpenAI-compatible host, with --base-url), echo.

    Examples:
      llmctl connection add
      llmctl connection add openai --key-stdin < key.txt
      llmctl connection add local --provider ollama --model qwen3:8b --default
      llmctl connection add work --base-url https://llm.example/v1 --key-env WORK_KEY
    """
    from llmctl.engine.connections.edit import ConnectionSpec

    app: App = ctx.obj
    values = parse_spec_fields(header, option, data)
    spec = ConnectionSpec(name, provider, model, type, base_url, wire, None, *values, description)
    key_flags = KeyFlags(key_env, key_command, key_file, key_keyring, key_stdin)
    if name is None and not _is_interactive(app):
        raise UsageError("missing argument NAME", hint='see "llmctl connection add --help"')
    _add(app, spec, key_flags, default=default, test=test)


def ask_and_add(app: App) -> None:
    """Ask for a connection on the terminal and add it."""
    from llmctl.engine.connections.edit import ConnectionSpec

    _add(app, ConnectionSpec(), KeyFlags(), default=False, test=None)


def _add(app: App, spec: ConnectionSpec, flags: KeyFlags, *, default: bool, test: bool | None) -> None:
    """Ask for what is missing, try the key, then store everything at once."""
    from llmctl.engine.connections.edit import build_columns

    flags.reference()  # refuses two keys
    if spec.name is not None:
        build_columns(spec, app.env)  # validate before anything is read or written
    database = _open_hub(app)
    is_asked = spec.name is None
    if is_asked:
        from llmctl.cli.commands.connection import wizard

        answers = wizard.ask_connection(app, database, spec, flags, default=default, test=test)
        spec, key, default = answers.spec, answers.key, answers.default
    else:
        require_free_name(database, str(spec.name))
        key = _try_key(app, database, spec, choose_key(app, spec, flags), test)
    with defer_signals():  # Ctrl-C leaves the connection with its key, or neither
        id = new_id()
        spec = with_key(app, spec, key, id)
        connection = connections.add(database, {"id": id, **build_columns(spec, app.env)})
        _finish(app, database, connection, default=default)
    if is_asked:
        flag = "" if default else f" -m {shlex.quote(connection.name)}"
        app.console.note(f'to ask it something: llmctl chat{flag} "hello"')


def _finish(app: App, database: Database, connection: ConnectionRow, *, default: bool) -> None:
    from llmctl.engine.connections import trust

    trust.add(database, connection, app.env)
    if default:
        settings.update(database, "default_connection", connection.name)
    record = connection_record(app, connections.get_record(database, connection.id))
    emit_change(app.console, record, f'added connection "{connection.name}"' + (" as the default" if default else ""))
    _note_missing(app, connection)


def _is_interactive(app: App) -> bool:
    return app.console.io.stdin_tty and app.console.io.stderr_tty and not app.console.quiet


def _try_key(app: App, database: Database, spec: ConnectionSpec, key: KeyChoice, test: bool | None) -> KeyChoice:
    """Return the key to store: on a terminal one that works or that the user keeps all the same."""
    if test is False or not (test or _is_interactive(app)):
        return key
    from llmctl.cli.commands.connection import wizard

    if not _is_interactive(app):
        wizard.list_models(app, database, spec, key)
        return key
    return wizard.try_key(app, database, spec, key)[0] if wizard.can_try(app, spec, key) else key


def _open_hub(app: App) -> Database:
    """Return the hub, created empty if it is missing: connections for keys in the environment are not wanted here."""
    is_new = app.hub_path != opening.MEMORY and not os.path.exists(app.hub_path) and opening.create(app.hub_path)
    database = app.hub("create")
    database.is_new = database.is_new or is_new
    app.identify_hub(database)
    return database


def _note_missing(app: App, row: ConnectionRow) -> None:
    """Note what a new connection still lacks."""
    from llmctl.engine.connections import target

    name = row.name
    key = find_key(app, row)
    try:
        target.for_connection(app.hub(), row.id, app.env)
    except ConfigError as error:  # without a base URL the key does not matter yet
        app.console.note(f"{error.message}; {error.hint}")
        key = {"key_found": None, "key_note": None}
    if not key["key_found"] and key["key_note"]:
        app.console.note(f"{key['key_note']}; to set one: llmctl connection edit {name} --key-stdin")
    if row.model_id is None:
        app.console.note(
            f"no model yet: llmctl connection models {name}, then llmctl connection edit {name} --model ID"
        )
