"""``llmctl connection``: named ways to reach a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_list, emit_made, emit_record, listing, record
from llmctl.core.errors import NotFoundError
from llmctl.store.database import Row
from llmctl.store.records import connections, settings

_COLUMNS = [
    Column("id", "id", shown=False),
    Column("name"),
    Column("provider"),
    Column("model_id", header="model"),
    Column("type"),
    Column("key"),
    Column("is_default", "bool", header="default"),
    Column("description", shown=False),
    Column("base_url", shown=False),
    Column("data", "json", shown=False),
    Column("created_at", "time", shown=False),
    Column("updated_at", "time", shown=False),
]
_MODELS = [
    Column("id"),
    Column("name"),
    Column("context_tokens", "number"),
    Column("max_output_tokens", "number"),
    Column("owned_by", shown=False),
    Column("created", shown=False),
    Column("description", shown=False),
]

Ref = Annotated[str, typer.Argument(metavar="REF", help="Connection: name, id, or its beginning.")]
OptionalRef = Annotated[str | None, typer.Argument(metavar="[REF]", help="Connection; the default one by default.")]
Provider = Annotated[str | None, typer.Option(metavar="P", help="Who answers: openai, ollama, … or any name.")]
Model = Annotated[str | None, typer.Option("--model", "-m", metavar="ID", help="The provider's id of the model.")]
Type = Annotated[
    Literal["chat", "embedding", "image", "audio", "moderation"] | None, typer.Option(help="What the model does.")
]
BaseUrl = Annotated[str | None, typer.Option(metavar="URL", help="Any compatible host, such as https://host/v1.")]
Wire = Annotated[str | None, typer.Option(metavar="W", help="Protocol, where it is not the provider's usual one.")]
KeyEnv = Annotated[str | None, typer.Option(metavar="VAR", help="The key is in this variable.")]
KeyCommand = Annotated[str | None, typer.Option(metavar="CMD", help="This command prints the key.")]
KeyFile = Annotated[str | None, typer.Option(metavar="PATH", help="The key is in this file.")]
KeyKeyring = Annotated[str | None, typer.Option(metavar="NAME", help="The key is in the desktop's keyring.")]
KeyStdin = Annotated[bool, typer.Option(help="Read the key from standard input into a file that only you can read.")]
Headers = Annotated[
    list[str] | None, typer.Option("--header", metavar="K=V", help="Sent with every request; V may be env:VAR.")
]
Options = Annotated[list[str] | None, typer.Option("--option", "-o", metavar="K=V", help="Model option; K:=JSON.")]
Data = Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="More of the connection's data, as an object.")]
Description = Annotated[str | None, typer.Option(metavar="T", help="What it is for.")]


@record
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it; the provider, where none is given.")],
    provider: Provider = None,
    model: Model = None,
    type: Type = None,
    base_url: BaseUrl = None,
    wire: Wire = None,
    key_env: KeyEnv = None,
    key_command: KeyCommand = None,
    key_file: KeyFile = None,
    key_keyring: KeyKeyring = None,
    key_stdin: KeyStdin = False,
    header: Headers = None,
    option: Options = None,
    data: Data = None,
    description: Description = None,
    default: Annotated[bool, typer.Option("--default", help="Use it when none is named.")] = False,
) -> None:
    """Add a connection.

    The hub keeps where the key is, never the key. Without a --key-... the provider's own variable is used; on a
    terminal, where that is not set, the key is asked for unseen.

    Examples:
      llmctl connection add openai --key-stdin < key.txt
      llmctl connection add local --provider ollama --model qwen3:8b --default
      llmctl connection add work --base-url https://llm.example/v1 --key-env WORK_KEY
    """
    from llmctl.cli import connecting
    from llmctl.engine.connections.edit import Wish, columns

    app: App = ctx.obj
    wish = Wish(name, provider, model, type, base_url, wire, None, *connecting.more(header, option, data), description)
    columns(wish, app.env)  # what is wrong is said before anything is read or made
    database = connecting.hub(app)
    connecting.refuse_taken(database, name)
    keys = connecting.KeyFlags(key_env, key_command, key_file, key_keyring, key_stdin)
    wish = connecting.with_key(app, wish, keys)
    row = connections.add(database, columns(wish, app.env))
    if default:
        settings.write(database, "default_connection", row["name"])
    emit_made(
        app,
        _shown(app, row),
        f'made the connection "{name}"' + (", used when none is named" if default else ""),
    )
    connecting.tell_missing(app, row)


@listing
def list_(ctx: typer.Context) -> None:
    """List connections.

    Examples:
      llmctl connection list
      llmctl connection list --json
    """
    app: App = ctx.obj
    emit_list(app, [_shown(app, row) for row in connections.listed(app.hub())], _COLUMNS)


@record
def show(ctx: typer.Context, ref: Ref) -> None:
    """Show a connection.

    Says where its key comes from and whether it is there; never the key itself.

    Examples:
      llmctl connection show openai
    """
    from llmctl.cli import connecting

    app: App = ctx.obj
    database = app.hub()
    row = connections.get(database, ref)
    document = _shown(app, row) | connecting.key_state(app, row) | connections.use(database, row)
    kinds = {column.name: column.kind for column in _COLUMNS} | {"key_found": "bool"}
    emit_record(app, document, [Column(name, kinds.get(name, "text")) for name in document])


@record
def edit(
    ctx: typer.Context,
    ref: Ref,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Another name.")] = None,
    provider: Provider = None,
    model: Model = None,
    type: Type = None,
    base_url: BaseUrl = None,
    wire: Wire = None,
    key_env: KeyEnv = None,
    key_command: KeyCommand = None,
    key_file: KeyFile = None,
    key_keyring: KeyKeyring = None,
    key_stdin: KeyStdin = False,
    no_key: Annotated[bool, typer.Option("--no-key", help="Forget the key; the provider's variable is used.")] = False,
    header: Headers = None,
    option: Options = None,
    data: Data = None,
    description: Description = None,
) -> None:
    """Change a connection.

    What is not named stays. K= takes a header away, K:=null an option.

    Examples:
      llmctl connection edit openai --model gpt-5.6-luna
      llmctl connection edit openai --key-stdin < key.txt
    """
    from llmctl.cli import connecting
    from llmctl.engine.connections.edit import Wish, columns

    app: App = ctx.obj
    database = app.hub("write")
    old = connections.get(database, ref)
    wish = Wish(name, provider, model, type, base_url, wire, None, *connecting.more(header, option, data), description)
    columns(wish, app.env, old)
    keys = connecting.KeyFlags(key_env, key_command, key_file, key_keyring, key_stdin, no_key)
    wish = connecting.with_key(app, wish, keys, old)
    row = connections.update(database, old["id"], columns(wish, app.env, old))
    connecting.follow_name(database, old, row)
    emit_made(app, _shown(app, row), f'changed the connection "{row["name"]}"')


@record
def remove(ctx: typer.Context, ref: Ref) -> None:
    """Remove a connection.

    Chats and the ledger stay. A key that llmctl kept in a file for it alone is deleted.

    Examples:
      llmctl connection remove work
    """
    from llmctl.cli import connecting

    app: App = ctx.obj
    database = app.hub("write")
    row = connections.get(database, ref)
    shown = _shown(app, row)
    connections.remove(database, row["id"])
    connecting.forget(app, row)
    emit_made(app, shown, f'removed the connection "{row["name"]}"')


@record
def test(ctx: typer.Context, ref: OptionalRef = None) -> None:  # noqa: PT028 - a command, no test
    """Ask a connection whether it works.

    One request for the list of models, which costs nothing: it tells a bad key (4), an unknown model (3), no
    credit (7) and no network (6) apart.

    Examples:
      llmctl connection test openai
    """
    from llmctl.engine.connections import test as connections_test

    app: App = ctx.obj
    database = app.hub("write")
    target = _target(app, ref)
    listing = connections_test.check(database, target, app.surroundings())
    name = target.connection or target.provider.name
    row = {
        "connection": name,
        "provider": target.provider.name,
        "model": target.model or None,
        "base_url": target.base_url,
        "key": target.key,
        "status_code": listing.status_code,
        "duration_ms": listing.duration_ms,
        "models": len(listing.models),
    }
    emit_record(app, row)
    app.note(
        f'"{name}" works' + ("" if target.model else f"; choose a model: llmctl connection edit {name} --model ID")
    )


@listing
def models(ctx: typer.Context, ref: OptionalRef = None) -> None:
    """List the models that a connection offers.

    Asked of the host itself, now.

    Examples:
      llmctl connection models ollama
    """
    from llmctl.engine.connections import test as connections_test

    app: App = ctx.obj
    database = app.hub("write")
    emit_list(app, connections_test.models(database, _target(app, ref), app.surroundings()).models, _MODELS)


@record
def default(
    ctx: typer.Context,
    ref: Annotated[str | None, typer.Argument(metavar="[REF]", help="The connection to use from now on.")] = None,
) -> None:
    """Show or choose the connection that is used when none is named.

    Examples:
      llmctl connection default
      llmctl connection default ollama
    """
    app: App = ctx.obj
    database = app.hub("read" if ref is None else "write")
    if ref is not None:
        row = connections.get(database, ref)
        settings.write(database, "default_connection", row["name"])
        app.note(f'"{row["name"]}" is used when none is named')
    name = connections.default_name(database)
    if name is None:
        from llmctl.engine.connections.target import THREE_WAYS

        raise NotFoundError("there is no default connection", hint=THREE_WAYS)
    if app.format.is_json:
        emit_record(app, _shown(app, connections.get(database, name)))
    elif ref is None or app.quiet or not app.io.stdout_tty:
        app.io.write(f"{name}\n")


def _target(app: App, ref: str | None) -> Any:
    from llmctl.engine.connections import target

    database = app.hub()
    if ref is not None:
        return target.of_connection(database, ref, app.env)
    return target.resolve(database, None, app.env)


def _shown(app: App, row: Row) -> dict[str, Any]:
    """Return a connection with what its data says first: where the key is, where the host is, whether it is default."""
    return {
        **row,
        "key": row["data"].get("key"),
        "base_url": row["data"].get("base_url"),
        "is_default": row["name"] == connections.default_name(app.hub()),
    }
