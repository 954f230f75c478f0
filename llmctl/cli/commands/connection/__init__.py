"""What the commands of connections share: columns, arguments, and the keys that the flags name. Never a key itself."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.core import environment
from llmctl.core.errors import ConfigError, LlmctlError, UsageError
from llmctl.core.options import parse_json, parse_model_options, parse_pairs
from llmctl.core.stored_values import loads, new_id
from llmctl.core.text_files import read_text_file
from llmctl.store.database import Database, Row
from llmctl.store.records import connections
from llmctl.store.records.types import ConnectionRow

if TYPE_CHECKING:
    from llmctl.engine.connections.edit import ConnectionSpec
    from llmctl.engine.connections.target import Target

COLUMNS = [
    OutputColumn("id", "id", is_default=False),
    OutputColumn("name"),
    OutputColumn("provider"),
    OutputColumn("model_id", header="model"),
    OutputColumn("type"),
    OutputColumn("key"),
    OutputColumn("is_default", "bool", header="default"),
    OutputColumn("trusted", "bool", is_default=False),
    OutputColumn("description", is_default=False),
    OutputColumn("base_url", is_default=False),
    OutputColumn("data", "json", is_default=False),
    OutputColumn("created_at", "time", is_default=False),
    OutputColumn("updated_at", "time", is_default=False),
]

ConnectionArgument = Annotated[str, typer.Argument(metavar="REF", help="Connection: name, id, or id prefix.")]
OptionalConnectionArgument = Annotated[
    str | None, typer.Argument(metavar="[REF]", help="Connection; by default the default connection.")
]
ProviderOption = Annotated[str | None, typer.Option(metavar="PROVIDER", help="Provider, such as openai; or any name.")]
ModelIdOption = Annotated[str | None, typer.Option("--model", "-m", metavar="ID", help="The provider's model id.")]
TypeOption = Annotated[
    Literal["chat", "embedding", "image", "audio", "moderation"] | None,
    typer.Option(help="Type of the model.", case_sensitive=False),
]
BaseUrlOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Base URL of a compatible host, such as https://host/v1.")
]
WireOption = Annotated[str | None, typer.Option(metavar="WIRE", help="Protocol, if not the provider's usual one.")]
KeyEnvOption = Annotated[str | None, typer.Option(metavar="VAR", help="Take the key from this environment variable.")]
KeyCommandOption = Annotated[str | None, typer.Option(metavar="CMD", help="Take the key from this command's output.")]
KeyFileOption = Annotated[str | None, typer.Option(metavar="PATH", help="Take the key from this file.")]
KeyKeyringOption = Annotated[str | None, typer.Option(metavar="NAME", help="Take the key from the desktop keyring.")]
KeyStdinOption = Annotated[bool, typer.Option(help="Read the key from standard input and keep it in a private file.")]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="K=V", help="Header of every request; V may be env:VAR. Repeatable."),
]
ModelOptionsOption = Annotated[
    list[str] | None, typer.Option("--option", "-o", metavar="K=V", help="Model option; K:=JSON. Repeatable.")
]
DataOption = Annotated[
    str | None, typer.Option(metavar="JSON|@FILE", help="Additional connection data, as a JSON object.")
]
DescriptionOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Description.")]


@dataclass(frozen=True, slots=True)
class KeyFlags:
    """The flags that say where the key is; at most one of them."""

    env: str | None = None
    command: str | None = None
    file: str | None = None
    keyring: str | None = None
    stdin: bool = False
    none: bool = False

    def reference(self) -> str | None:
        """Return the key's reference, an empty text for no key; None where no flag was given."""
        from llmctl.engine.connections import keys

        values = {"env": self.env, "command": self.command, "file": self.file, "keyring": self.keyring}
        references = [f"{kind}:{value}" for kind, value in values.items() if value is not None]
        if len(references) + self.stdin + self.none > 1:
            raise UsageError("the --key-... options cannot be combined", hint="pass one of them")
        if references and keys.holds_key(references[0]):
            flag = references[0].partition(":")[0]  # its value is not quoted: it is the key
            raise UsageError(
                f"--key-{flag} must say where the key is, not be the key",
                hint="pipe the key in with --key-stdin",
            )
        if references and not keys.is_reference(references[0]):
            raise UsageError(f"--key-{references[0].partition(':')[0]} must not be empty")
        return "" if self.none else references[0] if references else None


def parse_spec_fields(
    headers: Iterable[str] | None, options: Iterable[str] | None, data: str | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return headers, options and data as the flags give them; ``K=`` is None, which removes the header."""
    parsed_headers = parse_pairs(headers or (), "--header")
    return (
        {name: value or None for name, value in parsed_headers.items()},
        parse_model_options(options or (), "--option"),
        _parse_data(data),
    )


def resolve_target(app: App, ref: str | None) -> Target:
    """Return the target of a connection, or of the default one."""
    from llmctl.engine.connections import target

    database = app.hub()
    if ref is not None:
        return target.for_connection(database, ref, app.env)
    return target.resolve(database, None, app.env)


def connection_record(app: App, row: Row) -> dict[str, Any]:
    """Return a connection as commands print it.

    With its key's reference and base URL, whether it is the default, and whether it may be used.
    """
    from llmctl.engine.connections import trust

    database = app.hub()
    connection = connections.find_by_id(database, row["id"])
    return {
        **row,
        "key": row["data"].get("key"),
        "base_url": row["data"].get("base_url"),
        "is_default": row["name"] == trust.default_name(database, app.env),
        "trusted": connection is not None and trust.is_trusted(database, connection, app.env),
    }


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """The key of a connection: a reference, an empty one for no key, or a key that was read and is to be stored."""

    reference: str | None = None
    typed: str | None = field(default=None, repr=False)


def choose_key(app: App, spec: ConnectionSpec, flags: KeyFlags, old: ConnectionRow | None = None) -> KeyChoice:
    """Return the key that the flags, the environment or the user at the terminal name; nothing is stored."""
    reference = flags.reference()
    if reference is not None:
        if reference.startswith("file:"):
            path = os.path.expanduser(reference.removeprefix("file:"))
            reference = f"file:{os.path.abspath(path)}"
        return KeyChoice(reference)
    if flags.stdin:
        return KeyChoice(typed=_read_key(app))
    if old is not None:
        return KeyChoice()
    typed = ask_key(app, spec)
    return KeyChoice(typed=typed) if typed else KeyChoice(_find_environment_key(app, spec))


def with_key(app: App, spec: ConnectionSpec, key: KeyChoice, id: str) -> ConnectionSpec:
    """Return the spec with the reference of a key; one that was read or typed is stored in a file first.

    ``id`` is that of the connection, which may not exist yet.
    """
    reference = _store_key(app, id, key.typed) if key.typed is not None else key.reference
    return spec if reference is None else replace(spec, key=reference)


def delete_unused_key_file(app: App, id: str, reference: str | None) -> None:
    """Delete the file behind a reference that a connection no longer has, if llmctl made it for this one alone."""
    from llmctl.engine.connections import keys

    path = (reference or "").removeprefix("file:")
    if reference in (None, "", path):
        return
    own = keys.key_file_path(key_folder(app), app.hub_path, id)
    if path.startswith(own) and reference not in _key_references(app):
        try:
            os.unlink(path)
            app.console.note(f'deleted its key file "{path}"')
        except OSError:
            return
    elif path.startswith(os.path.join(key_folder(app), "")) and os.path.exists(path):
        app.console.note(f'kept its key file "{path}": another connection or hub may use it')


def note_untrusted(app: App, connection: ConnectionRow) -> None:
    """Note that a connection cannot be used before it is confirmed."""
    from llmctl.engine.connections import trust

    if not trust.is_trusted(app.hub(), connection, app.env):
        app.console.note(f"it is not used before you trust it: llmctl connection trust {shlex.quote(connection.name)}")


def find_key(app: App, connection: ConnectionRow) -> dict[str, Any]:
    """Return where a connection's key comes from, whether it can be read, and what is wrong with it."""
    from llmctl.engine.connections import target

    try:
        resolved = target.for_connection(app.hub(), connection.id, app.env)
        endpoint = target.resolve_endpoint(app.hub(), resolved, app.runtime_env().replace(confirm=None))
    except LlmctlError as error:
        if error.reason == "untrusted":
            return {"key_found": None, "key_source": resolved.key, "key_note": error.message}
        return {"key_found": False, "key_source": loads(connection.data, {}).get("key"), "key_note": error.message}
    needs_none = resolved.key is None and not endpoint.secrets
    return {"key_found": None if needs_none else True, "key_source": resolved.key, "key_note": None}


def key_folder(app: App) -> str:
    """Return the folder of stored keys: with llmctl's other data, or next to the hub if there is no home folder."""
    folder = environment.data_folder(app.env) or os.path.dirname(os.path.abspath(app.hub_path))
    return os.path.join(folder, "keys")


def _parse_data(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    value = parse_json(read_text_file(text[1:]) if text.startswith("@") else text, "--data")
    if not isinstance(value, dict):
        raise UsageError("--data must be a JSON object", hint='for example: {"query": {"api-version": "2025-01-01"}}')
    return value


def _read_key(app: App) -> str:
    """Return the key on stdin."""
    from llmctl.cli.console.console import read_bytes
    from llmctl.engine.connections import keys

    try:
        return keys.decode_key(read_bytes(app.console.io, app.console.note))
    except UnicodeDecodeError:
        raise UsageError("the key is not text", hint="check what is piped in") from None


def _store_key(app: App, id: str, value: str) -> str:
    from llmctl.engine.connections import keys

    path = keys.key_file_path(key_folder(app), app.hub_path, id)
    if f"file:{path}" in _key_references(app, but=id):
        path = f"{path}-{new_id()}"
    try:
        keys.store_key_file(path, keys.strip_key(value))
    except ConfigError as error:
        raise UsageError(error.message, hint=error.hint) from None
    app.console.note(f'stored the key in "{path}" (mode 0600)')
    return f"file:{path}"


def _key_references(app: App, but: str | None = None) -> set[str | None]:
    """Return the key references of the hub's connections, headers included, except those of one."""
    others = [row["data"] for row in connections.list_(app.hub()) if row["id"] != but]
    return {value for data in others for value in (data.get("key"), *(data.get("headers") or {}).values())}


def ask_key(app: App, spec: ConnectionSpec) -> str | None:
    """Ask for the key without echo, if one is needed and not known yet."""
    from llmctl.engine.connections import keys
    from llmctl.engine.connections.edit import find_provider

    provider = find_provider(spec)
    base_url = spec.base_url or provider.base_url
    needs_none = provider.auth == "none" or provider.local or spec.headers or spec.data.get("key")
    if needs_none or keys.pick_key(provider, base_url, None, app.env):
        return None
    from llmctl.cli.console.prompts import ask_secret

    return ask_secret(app.console, f"Key of {provider.name} (not shown; Enter for none): ")


def _find_environment_key(app: App, spec: ConnectionSpec) -> str | None:
    """Return the reference of the provider's own variable, if this connection may use its key."""
    from llmctl.engine.connections import keys
    from llmctl.engine.connections.edit import find_provider

    if spec.data.get("key"):
        return None
    provider = find_provider(spec)
    return keys.pick_key(provider, spec.base_url or provider.base_url, None, app.env)


def require_free_name(database: Database, name: str) -> None:
    """Raise UsageError if a connection of that name exists: before prompting for a key."""
    if connections.find_by_name(database, name):
        raise UsageError(f'connection "{name}" already exists', hint=f"llmctl connection edit {name}")
