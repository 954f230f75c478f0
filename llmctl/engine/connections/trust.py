"""Which connections and tools this user trusts, and which hubs are this user's own.

A hub, an export or another database can come from anyone, and a connection in it decides who gets the user's prompts
and keys, a tool what runs. So this is kept outside the hub, per user: one small file for each connection or tool, in
``trust/`` of llmctl's state folder. It names the hub, the connection or tool and everything that decides what it does
(where requests go and what is in them, what is run), and counts only while all of these are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llmctl.core import environment
from llmctl.core.environment import make_private_folder
from llmctl.core.errors import ConfigError, StorageError
from llmctl.core.redaction import redact_url
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.engine.connections import keys
from llmctl.engine.runtime import RuntimeEnv
from llmctl.providers import PROVIDERS, parse_host, parse_origin
from llmctl.store import opening
from llmctl.store.database import Database
from llmctl.store.records import connections, settings
from llmctl.store.records.types import ConnectionRow

if TYPE_CHECKING:  # a turn without tools needs none of it
    from llmctl.core.tools import Tool

Env = Mapping[str, str]

#: Data of a connection that cannot redirect its requests while the host is the provider's own.
_HARMLESS_DATA = {"base_url", "wire", "key", "options"}
#: Values of options that hold no objects: those of hosted tools name servers.
_PLAIN = (str, int, float, type(None))


def is_trusted(database: Database, connection: ConnectionRow, env: Env) -> bool:
    """Return whether a connection may be used: this user made, edited or confirmed it, or it needs no trust."""
    if database.path == opening.MEMORY or _needs_no_trust(connection):
        return True
    return _is_recorded(database, connection, env) or (database.id is None and _was_used_before(database, env))


def require(database: Database, connection: ConnectionRow, base_url: str, runtime: RuntimeEnv) -> None:
    """Return if a connection may be used; on a terminal the user may confirm it now.

    Raises ConfigError (reason ``untrusted``) otherwise. Nothing of the connection was used before.
    """
    if is_trusted(database, connection, runtime.env):
        return
    use = describe_use(connection, base_url)
    if runtime.confirm is not None and runtime.confirm(f'Connection "{connection.name}" is new here: {use}. Trust it?'):
        with suppress(StorageError):  # a home that cannot be written: it is trusted this once
            add(database, connection, runtime.env)
        return
    own = default_name(database, runtime.env)
    raise ConfigError(
        f'connection "{connection.name}" is not trusted here: {use}',
        hint=f"if that is right: llmctl connection trust {shlex.quote(connection.name)}"
        + (f"; or use one of yours: -m {shlex.quote(own)}" if own and own != connection.name else ""),
        reason="untrusted",
    )


def describe_use(connection: ConnectionRow, base_url: str) -> str:
    """Return where a connection sends requests and with which key, in words."""
    data = _parse_data(connection)
    headers: Mapping[str, Any] = data.get("headers") or {}
    parts = [f"the key {data['key']}" if data.get("key") else "no key of its own"]
    parts += [f"the header {name}: {value}" for name, value in headers.items()]
    if not _has_plain_options(data.get("options")):
        parts.append(f"the options {dumps(data['options'])}")
    return f"it sends to {redact_url(base_url)} with {', '.join(parts)}"


def add(database: Database, connection: ConnectionRow, env: Env) -> None:
    """Record that this user trusts a connection as it is now; raise StorageError if that cannot be stored."""
    if database.path == opening.MEMORY or _needs_no_trust(connection):
        return
    data = _parse_data(connection)
    record = {"connection": connection.name, "base_url": data.get("base_url"), "key": data.get("key")}
    record |= {"hub": os.path.realpath(database.path), "digest": _digest(connection)}
    _write(_record_path(database, "connection", connection.id, env), record, env)


def remove(database: Database, connection_id: str, env: Env) -> None:
    """Forget a connection."""
    path = _record_path(database, "connection", connection_id, env)
    if path is not None:
        with suppress(OSError):
            os.unlink(path)


def is_same_use(one: ConnectionRow, other: ConnectionRow) -> bool:
    """Return whether two connections send the same to the same host with the same key."""
    return _digest(one) == _digest(other)


def keep_trusted(database: Database, rows: list[ConnectionRow], env: Env) -> list[ConnectionRow]:
    """Return those that are trusted; all of them where none is, so that the user is told."""
    return [row for row in rows if is_trusted(database, row, env)] or rows


def list_usable(database: Database, env: Env, type: str | None = None) -> list[ConnectionRow]:
    """Return the trusted connections except those to echo, oldest first."""
    return [row for row in connections.list_remote(database, type) if is_trusted(database, row, env)]


def default_name(database: Database, env: Env) -> str | None:
    """Return the name of the default connection: the configured one, else the oldest that is trusted; or None."""
    chosen = settings.get(database, "default_connection")
    if chosen:
        row = connections.find_by_name(database, str(chosen)) or connections.find_by_id(database, str(chosen))
        return row.name if row else None
    return next((row.name for row in list_usable(database, env, "chat")), None)


# --- tools


def is_tool_trusted(database: Database, tool: Tool, env: Env) -> bool:
    """Return whether this user made, edited or confirmed a tool, or it needs no trust.

    A function of the calling program needs none, nor does a tool just as it is built in.
    """
    if database.path == opening.MEMORY or _needs_no_tool_trust(tool):
        return True
    return _is_tool_recorded(database, tool, env) or (database.id is None and _was_used_before(database, env))


def require_tool(database: Database, tool: Tool, runtime: RuntimeEnv) -> None:
    """Return if the user's own command may use a tool; a tool that takes keys must be trusted for that.

    On a terminal the user may confirm it now. Raises ConfigError (reason ``untrusted``) otherwise; no key was read.
    """
    if not list_references(tool) or is_tool_trusted(database, tool, runtime.env):
        return
    use = describe_tool_use(tool)
    if runtime.confirm is not None and runtime.confirm(f'Tool "{tool.name}" is new here: {use}. Trust it?'):
        with suppress(StorageError):  # a home that cannot be written: it is trusted this once
            add_tool(database, tool, runtime.env)
        return
    raise ConfigError(
        f'tool "{tool.name}" is not trusted here: {use}',
        hint=f"if that is right: llmctl tool trust {shlex.quote(tool.name)}",
        reason="untrusted",
    )


def add_tool(database: Database, tool: Tool, env: Env) -> None:
    """Record that this user trusts a tool as it is now; raise StorageError if that cannot be stored."""
    if database.path == opening.MEMORY or _needs_no_tool_trust(tool) or _is_tool_recorded(database, tool, env):
        return
    record = {"tool": tool.name, "hub": os.path.realpath(database.path), "digest": _digest_tool(tool)}
    _write(_record_path(database, "tool", str(tool.id), env), record, env)


def add_made_tool(database: Database, tool: Tool, env: Env) -> None:
    """Record a tool that this user has just made or changed.

    Where it cannot be stored, only a tool that takes keys is an error: any other one asks before it runs.
    """
    try:
        add_tool(database, tool, env)
    except StorageError:
        if list_references(tool):
            raise


def list_references(tool: Tool) -> list[tuple[str, str]]:
    """Return what a tool takes of this user's keys and variables: in which header or variable, and the reference."""
    headers, variables = tool.data.get("headers") or {}, tool.data.get("env") or {}
    if isinstance(variables, list):
        variables = {str(name): f"env:{name}" for name in variables}
    places = [("header", headers), ("variable", variables)]
    return [
        (f"{kind} {name}", value)
        for kind, values in places
        for name, value in (values.items() if isinstance(values, dict) else ())
        if isinstance(value, str) and keys.is_reference(value)
    ]


def describe_tool_use(tool: Tool) -> str:
    """Return where a tool sends to or what it runs, and with which keys, in words."""
    data = tool.data
    found = (data.get(name) for name in ("url", "server", "command", "file", "module"))
    target: Any = next((value for value in found if value), "nothing")
    target = shlex.join(map(str, target)) if isinstance(target, list) else str(target)
    is_host = target.startswith(("https://", "http://"))
    what = f"it sends to {redact_url(target)}" if is_host else f"it runs {target}"
    if tool.type == "builtin":
        what = f"it is {data.get('builtin')} with {dumps({k: v for k, v in data.items() if k != 'builtin'})}"
    taken = ", ".join(f"the {place}: {reference}" for place, reference in list_references(tool))
    return f"{what} with {taken}" if taken else what


def _needs_no_tool_trust(tool: Tool) -> bool:
    return (
        tool.id is None
        or tool.type == "function"
        or (tool.type == "builtin" and dict(tool.data) == {"builtin": tool.name})
    )


def _is_tool_recorded(database: Database, tool: Tool, env: Env) -> bool:
    path = _record_path(database, "tool", str(tool.id), env)
    return path is not None and _read(path).get("digest") == _digest_tool(tool)


def _digest_tool(tool: Tool) -> str:
    what = {"type": tool.type, "schema": dict(tool.schema), "data": dict(tool.data)}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


# --- hubs


def identify_hub(database: Database, env: Env) -> None:
    """Record a hub that this user has made, and give an id to one that has none: it is from before hubs had ids.

    Connections of a hub that was used before stay trusted. See :func:`_was_used_before`.
    """
    if database.path == opening.MEMORY:
        return
    if database.is_new:
        _record_hub(database, env)
    elif database.id is None and _owns_file(database):
        with suppress(StorageError):  # a hub that cannot be written keeps none
            opening.assign_id(database, lambda: _adopt_records(database, env))


def is_own_hub(database: Database, env: Env) -> bool:
    """Return whether this user made the hub, used it before hubs had ids, or confirmed it as a whole."""
    if database.path == opening.MEMORY:
        return True
    if database.id is None:
        return _was_used_before(database, env)
    path = _record_path(database, "hub", "", env)
    return path is not None and os.path.exists(path)


def trust_hub(database: Database, env: Env) -> None:
    """Record that this user trusts the tools in the hub, and what is stored of their permissions."""
    for tool in _list_tools(database):
        add_tool(database, tool, env)
    _write(_record_path(database, "hub", "", env), {"hub": os.path.realpath(database.path)}, env)


def distrust_prices(database: Database, ids: list[str], env: Env) -> None:
    """Record prices that came with a file: limits do not count at them."""
    if database.path != opening.MEMORY:
        known = set(list_foreign_prices(database, env))
        _write(_record_path(database, "prices", "", env), {"foreign": sorted(known | set(ids))}, env)


def list_foreign_prices(database: Database, env: Env) -> frozenset[str]:
    """Return the ids of the prices that came with a file."""
    path = _record_path(database, "prices", "", env) if database.path != opening.MEMORY else None
    ids = _read(path).get("foreign") if path else None
    return frozenset(map(str, ids)) if isinstance(ids, list) else frozenset()


def approve_call(database: Database, invocation_id: str, fingerprint: str, env: Env) -> bool:
    """Record that this user approved a call, if the hub is someone else's: approvals in it do not count."""
    if is_own_hub(database, env):
        return False
    _write(_record_path(database, "call", invocation_id, env), {"digest": fingerprint}, env)
    return True


def is_approved(database: Database, invocation_id: str, fingerprint: str, env: Env) -> bool:
    """Return whether this user approved exactly this call, in a hub of someone else."""
    path = _record_path(database, "call", invocation_id, env)
    return path is not None and _read(path).get("digest") == fingerprint


def _record_hub(database: Database, env: Env) -> None:
    with suppress(StorageError):  # a home that cannot be written: it is a hub of someone else
        _write(_record_path(database, "hub", "", env), {"hub": os.path.realpath(database.path)}, env)


def _adopt_records(database: Database, env: Env) -> None:
    """Record the connections and tools of an earlier hub as trusted, before any process sees the id it has now."""
    if not _was_used_before(database, env, has_id=True):
        return
    _record_hub(database, env)
    with suppress(StorageError):
        for connection in connections.list_remote(database):
            add(database, connection, env)
        for tool in _list_tools(database):
            add_tool(database, tool, env)


def _list_tools(database: Database) -> list[Tool]:
    from llmctl.store.records import tools  # once for a hub

    return tools.list_tools(database)


def _was_used_before(database: Database, env: Env, *, has_id: bool = False) -> bool:
    """Return whether this user had the hub before hubs had ids. Nothing in the file itself counts: it can be forged.

    The file must be this user's, and unchanged since the user's first run of a version that gives ids. That run counts
    only if it found traces of an earlier version in llmctl's own data folder, a hub without id or stored keys: whoever
    is new here has no earlier hubs, whatever ``LLMCTL_DB`` or ``--db`` leads to. Other places than the named ones must
    be on the same disk as the records, since media that are plugged in keep their own times.
    """
    if not _owns_file(database) or (database.id is not None and not has_id):
        return False
    folder = _folder(env)
    if folder is None:
        return False
    try:
        _make_folder(folder, env)
        info, disk = database.file_before or os.stat(database.path), os.stat(folder).st_dev
    except OSError:
        return False
    is_named = any(_is_same(database.path, place) for place in _named_places(env))
    return info.st_ctime <= _read_since(folder) and (is_named or info.st_dev == disk)


def _owns_file(database: Database) -> bool:
    try:
        return os.stat(database.path).st_uid == os.geteuid()
    except OSError:
        return False


def _named_places(env: Env) -> list[str]:
    defaults = {name: value for name, value in env.items() if name != "LLMCTL_DB"}
    return [place for place in (environment.hub_path(None, env), environment.hub_path(None, defaults)) if place]


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _make_folder(folder: str, env: Env) -> None:
    """Make the folder of the records; the first run stores when that was, or 0 for a user who had no hub before."""
    make_private_folder(folder)
    path = os.path.join(folder, "since")
    if os.path.exists(path):
        return
    had_hub = _has_earlier_traces(env)
    draft = f"{path}.{new_id()}"
    _write_file(draft, dumps({"since": time.time() if had_hub else 0.0}))
    with suppress(FileExistsError):  # another process was first
        os.link(draft, path)
    os.unlink(draft)


def _has_earlier_traces(env: Env) -> bool:
    """Return whether this user used an earlier version, as far as llmctl's own data folder shows."""
    data = environment.data_folder(env)
    if data is None:
        return False
    try:
        has_keys = bool(os.listdir(os.path.join(data, "keys")))
    except OSError:
        has_keys = False
    return has_keys or _is_earlier_hub(os.path.join(data, "hub.db"))


def _is_earlier_hub(path: str) -> bool:
    try:
        return os.stat(path).st_uid == os.geteuid() and opening.lacks_id(path)
    except OSError:
        return False


def _read_since(folder: str) -> float:
    value = _read(os.path.join(folder, "since")).get("since")
    return float(value) if isinstance(value, int | float) else 0.0


# --- records


def _needs_no_trust(connection: ConnectionRow) -> bool:
    """Return whether a connection sends nothing, or only to its provider with the provider's own variable."""
    name = connection.provider.lower()
    if name == "echo":
        return True
    data = {key: value for key, value in _parse_data(connection).items() if value not in (None, "", {}, [])}
    if name not in PROVIDERS or set(data) - _HARMLESS_DATA or not _has_plain_options(data.get("options")):
        return False
    provider = PROVIDERS.load(name)
    kind, _, variable = str(data.get("key") or "").partition(":")
    if kind and (kind != "env" or variable.strip() not in provider.key_env):
        return False
    # Without a base URL it is the provider's own, or the one that the user's environment names.
    url = str(data.get("base_url") or "")
    scheme, host, port = parse_origin(url)
    hosts = {parse_host(provider.base_url), *(host for host in provider.hosts if not host.startswith("."))}
    return not url or ((scheme, port) == ("https", 443) and bool(host) and host in hosts)


def _has_plain_options(options: Any) -> bool:
    if options is None:
        return True
    values = options.values() if isinstance(options, dict) else [{}]
    return all(
        isinstance(value, _PLAIN) or (isinstance(value, list) and all(isinstance(item, _PLAIN) for item in value))
        for value in values
    )


def _digest(connection: ConnectionRow) -> str:
    what = {"provider": connection.provider.lower(), "data": _parse_data(connection)}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _parse_data(connection: ConnectionRow) -> dict[str, Any]:
    data = loads(connection.data, {})
    return data if isinstance(data, dict) else {"invalid": data}


def _is_recorded(database: Database, connection: ConnectionRow, env: Env) -> bool:
    path = _record_path(database, "connection", connection.id, env)
    return path is not None and _read(path).get("digest") == _digest(connection)


def _record_path(database: Database, kind: str, id: str, env: Env) -> str | None:
    """Return the path of a record. Ids come from files of others: they are hashed."""
    folder = _folder(env)
    if folder is None:
        return None
    hub, name = (hashlib.sha256(text.encode()).hexdigest()[:32] for text in (_hub_key(database), f"{kind}:{id}"))
    return os.path.join(folder, hub, f"{name}.json")


def _hub_key(database: Database) -> str:
    """Return the hub's id; for a hub that this user cannot give one, its file."""
    if database.id is not None:
        return database.id
    info = os.stat(database.path)
    return f"file:{info.st_dev}:{info.st_ino}"


def _folder(env: Env) -> str | None:
    """Return the folder of the records; None for a user without a home folder.

    Without ``HOME``, as in some services, it is the home folder that the system knows.
    """
    state = environment.state_folder(env)
    if state is None:
        import pwd

        with suppress(KeyError):
            state = environment.state_folder({"HOME": pwd.getpwuid(os.geteuid()).pw_dir})
    return os.path.join(state, "trust") if state else None


def _read(path: str) -> dict[str, Any]:
    """Return a record; one that is missing or damaged is empty, so that it counts for nothing."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _write(path: str | None, record: Mapping[str, Any], env: Env) -> None:
    if path is None:
        raise StorageError(
            "cannot remember that you trust this: there is no home folder",
            hint="set XDG_STATE_HOME to a folder of yours",
            reason="no_home",
        )
    folder, draft = os.path.dirname(path), f"{path}.{new_id()}"
    try:
        _make_folder(os.path.dirname(folder), env)
        make_private_folder(folder)
        _write_file(draft, dumps(dict(record)))
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise StorageError(
            f'cannot remember that you trust this: "{folder}": {(error.strerror or str(error)).lower()}',
            hint="set XDG_STATE_HOME to a folder that you can write to",
            reason="cannot_write",
        ) from error


def _write_file(path: str, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
