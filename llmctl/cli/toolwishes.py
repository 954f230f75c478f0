"""What the flags of ``tool add`` and ``tool edit`` say of a tool."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.values import pairs
from llmctl.core import stored_json
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.engine.tools import permissions
from llmctl.engine.tools.define import Wish
from llmctl.store.database import Database
from llmctl.store.records import permission_rules

#: Flags that go into a tool's data as they are.
_PLAIN = ("command", "module", "function", "url", "method", "timeout", "arguments")


def wish(app: App, name: str | None, kind: str | None = None, **more: Any) -> Wish:
    """Return what is said; paths are made absolute, since a tool is run from anywhere. ``more`` is further data."""
    flags = app.asking
    data: dict[str, Any] = dict(_object(flags["data"], "--data") or {})
    data |= {word: flags[word] for word in _PLAIN if flags[word] is not None}
    data |= {word: True for word in ("shell", "halt") if flags[word]}
    data |= {word: value for word, value in more.items() if value is not None}
    if flags["output_limit"] is not None:
        data["output"] = flags["output_limit"]
    if flags["file"]:
        data["file"] = _path(flags["file"])
    if flags["cwd"]:
        data["folder"] = _path(flags["cwd"])
    if flags["folder"]:
        data["folders"] = [_path(path) for path in flags["folder"]]
    if flags["host"]:
        data["hosts"] = list(flags["host"])
    if flags["header"]:
        data["headers"] = pairs(flags["header"], "--header")
    if flags["body"]:
        data["body"] = json_of(flags["body"], "--body")
    if flags["env"]:
        data["env"] = _environment(flags["env"])
    return Wish(name, kind, flags["description"], _object(flags["schema"], "--schema"), data)


def remember(
    app: App, database: Database, tool_id: str, allow: Iterable[str], deny: Iterable[str], chat_id: str | None
) -> None:
    """Keep rules of the tool: ``K=GLOB`` on an argument, a JSON Schema, or ``*`` for any call."""
    for effect, texts in (("allow", allow), ("deny", deny)):
        for text in texts:
            rule = _rule(text, f"--{effect}")
            permission_rules.add(database, tool_id, effect, arguments=rule, chat_id=chat_id)


def _rule(text: str, flag: str) -> dict[str, Any]:
    if text == "*":
        return {}
    if text.startswith("{"):
        schema = _object(text, flag)
        permissions.matches({"schema": schema}, {}, "allow")
        return {"schema": schema}
    return {"glob": {name: str(value) for name, value in pairs([text], flag).items()}}


def _path(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _environment(given: Iterable[str]) -> dict[str, str]:
    """Return ``NAME`` (ours, by reference) and ``NAME=VALUE`` as an object."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        found[name] = value if equals else f"env:{name}"
    return found


def _object(text: str | None, flag: str) -> dict[str, Any] | None:
    if text is None:
        return None
    found = json_of(text, flag)
    if not isinstance(found, dict):
        raise UsageError(f'"{flag}" takes a JSON object')
    return found


def json_of(text: str, flag: str) -> Any:
    """Read JSON: the text itself, ``@FILE``, or a file's name."""
    if not text.lstrip().startswith(("{", "[", '"')):
        path = text.removeprefix("@")
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise NotFoundError(f'cannot read "{path}": {getattr(error, "strerror", None) or error}') from error
    try:
        return stored_json.loads(text)
    except ValueError as error:
        raise UsageError(f'"{flag}" holds no JSON: {error}') from error
