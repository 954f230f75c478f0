"""``llmctl connection add``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import (
    BaseUrlOption,
    DataOption,
    DescriptionOption,
    HeaderOption,
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
    connection_record,
    find_key,
    parse_spec_fields,
    require_free_name,
    with_key,
)
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.core.errors import ConfigError
from llmctl.core.stored_values import new_id
from llmctl.store import opening
from llmctl.store.database import Database
from llmctl.store.records import connections, settings
from llmctl.store.records.types import ConnectionRow


@record_output
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name; also the provider, without --provider.")],
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
) -> None:
    """Add a connection.

    The hub stores where the key is, never the key. Without a --key-... option the provider's own variable is used; if
    that is not set, a terminal prompts for the key without echo.

    Examples:
      llmctl connection add openai --key-stdin < key.txt
      llmctl connection add local --provider ollama --model qwen3:8b --default
      llmctl connection add work --base-url https://llm.example/v1 --key-env WORK_KEY
    """
    from llmctl.engine.connections import trust
    from llmctl.engine.connections.edit import ConnectionSpec, build_columns

    app: App = ctx.obj
    fields = parse_spec_fields(header, option, data)
    spec = ConnectionSpec(name, provider, model, type, base_url, wire, None, *fields, description)
    key_flags = KeyFlags(key_env, key_command, key_file, key_keyring, key_stdin)
    key_flags.reference()
    build_columns(spec, app.env)  # validate before anything is read or written
    database = _open_hub(app)
    require_free_name(database, name)
    id = new_id()
    spec = with_key(app, spec, key_flags, id)
    connection = connections.add(database, {"id": id, **build_columns(spec, app.env)})
    trust.add(database, connection, app.env)
    if default:
        settings.update(database, "default_connection", connection.name)
    record = connection_record(app, connections.get_record(database, connection.id))
    emit_change(app.console, record, f'added connection "{name}"' + (" as the default" if default else ""))
    _note_missing(app, connection)


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
