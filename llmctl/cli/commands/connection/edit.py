"""``llmctl connection edit``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.connection import (
    BaseUrlOption,
    ConnectionArgument,
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
    choose_key,
    connection_record,
    delete_unused_key_file,
    parse_spec_fields,
    with_key,
)
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.core.errors import UsageError
from llmctl.core.stored_values import loads
from llmctl.store.records import connections, models, settings


@record_output
def edit(
    ctx: typer.Context,
    ref: ConnectionArgument,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="New name.")] = None,
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
    no_key: Annotated[bool, typer.Option("--no-key", help="Forget the key; use the provider's variable.")] = False,
    header: HeaderOption = None,
    option: ModelOptionsOption = None,
    data: DataOption = None,
    description: DescriptionOption = None,
) -> None:
    """Edit a connection.

    Omitted options stay unchanged. K= removes a header, K:=null an option.

    Examples:
      llmctl connection edit openai --model gpt-5.6-luna
      llmctl connection edit openai --key-stdin < key.txt
    """
    from llmctl.engine.connections import trust
    from llmctl.engine.connections.edit import ConnectionSpec, build_columns

    app: App = ctx.obj
    database = app.hub("write")
    old = connections.get(database, ref)
    fields = parse_spec_fields(header, option, data)
    spec = ConnectionSpec(name, provider, model, type, base_url, wire, None, *fields, description)
    build_columns(spec, app.env, old)  # validate before a key is read
    key_flags = KeyFlags(key_env, key_command, key_file, key_keyring, key_stdin, no_key)
    if (spec, key_flags) == (ConnectionSpec(), KeyFlags()):
        raise UsageError("nothing to change", hint=f"llmctl connection edit {old.name} --model ID, or see --help")
    spec = with_key(app, spec, choose_key(app, spec, key_flags, old), old.id)
    renamed = models.alias_writes(database, old, name) if name else ()
    new = connections.update(database, old.id, build_columns(spec, app.env, old), then=renamed)
    trust.add(database, new, app.env)
    if old.name != new.name and settings.get(database, "default_connection") == old.name:
        settings.update(database, "default_connection", new.name)
    if (old_key := loads(old.data, {}).get("key")) != loads(new.data, {}).get("key"):
        delete_unused_key_file(app, old.id, old_key)
    record = connection_record(app, connections.get_record(database, new.id))
    emit_change(app.console, record, f'updated connection "{new.name}"')
