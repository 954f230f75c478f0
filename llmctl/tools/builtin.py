"""The tools that are here from the start. What each may reach stands in its data; nothing more is reached."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from llmctl.core.errors import DeniedError, InvalidOutputError, NotFoundError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.registry import unknown
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, ToolType, subprocess_tool
from llmctl.tools.host_allowlist import answered, require_host
from llmctl.tools.path_sandbox import Confinement

Arguments = Mapping[str, Any]


class Builtin(NamedTuple):
    """One tool: what it does, what it takes, which words of its data it knows."""

    run: Callable[[Tool, Arguments, Context], Ran]
    description: str
    schema: Mapping[str, Any]
    #: Name of the word of its data that widens what it may reach.
    reach: str | None = None


def _time(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    zone = arguments.get("zone")
    if not zone:
        return Ran(datetime.now().astimezone().isoformat(timespec="seconds"))
    from zoneinfo import ZoneInfo

    try:
        return Ran(datetime.now(ZoneInfo(zone)).isoformat(timespec="seconds"))
    except (KeyError, ValueError, OSError):
        raise NotFoundError(f'no time zone "{zone}"') from None


def _read_file(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    data = _files(tool, context).read(arguments["path"], context.most_bytes)
    if b"\0" in data:
        raise InvalidOutputError(f'"{arguments["path"]}" holds no text')
    return Ran(subprocess_tool.cut(data.decode("utf-8", "replace"), context.most_bytes))


def _list_files(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    entries = _files(tool, context).entries(arguments.get("path") or ".")
    return Ran(subprocess_tool.cut("\n".join(entries) or "[nothing]", context.most_bytes))


def _fetch_url(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    url = arguments["url"]
    require_host(url, tool.data.get("hosts") or (), context.reaches, tool.name)
    return answered(context.fetch(HttpRequest("GET", url, {}), **_within(context)), context)


def _run_command(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    try:
        words = shlex.split(arguments["command"])
    except ValueError as error:
        raise InvalidOutputError(f"the command cannot be read: {str(error).lower()}") from None
    if not words:
        raise InvalidOutputError("the command is empty")
    if not any(_allows(rule, words) for rule in tool.data.get("commands") or ()):
        raise DeniedError(
            f'"{words[0]}" is not among the commands that this tool may run',
            hint=f"allow it with: llmctl tool edit {tool.name} --command '{words[0]}'",
            reason="confined",
        )
    return subprocess_tool.ran(subprocess_tool.run(words, context), context)


def _allows(rule: str, words: list[str]) -> bool:
    """Say whether a rule allows a command: ``ls`` with anything, ``git log*`` as a pattern over the whole line."""
    if not set(rule) & set(" *?["):
        return words[0] == rule
    return fnmatchcase(shlex.join(words), rule)


def _files(tool: Tool, context: Context) -> Confinement:
    return Confinement(tool.data.get("folders") or (".",), context.folder, context.private)


def _within(context: Context) -> dict[str, Any]:
    return {"timeout_s": context.timeout_s, "most_bytes": context.most_bytes}


def _object(properties: Mapping[str, str], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
        "required": list(required),
        "additionalProperties": False,
    }


BUILTINS: Mapping[str, Builtin] = {
    "time": Builtin(
        _time, "Tell the date and time.", _object({"zone": "IANA time zone, such as Europe/Rome; local time if absent"})
    ),
    "read_file": Builtin(
        _read_file, "Read a text file.", _object({"path": "Path of the file"}, ("path",)), reach="folders"
    ),
    "list_files": Builtin(
        _list_files,
        "List a folder; names of folders end in a slash.",
        _object({"path": "Path of the folder; the working folder if absent"}),
        reach="folders",
    ),
    "fetch_url": Builtin(
        _fetch_url, "Fetch a URL and return its text.", _object({"url": "An http or https URL"}, ("url",)), "hosts"
    ),
    "run_command": Builtin(
        _run_command,
        "Run a program with arguments, without a shell: no pipes, no redirection, no variables.",
        _object({"command": "The command line, quoted as for a shell"}, ("command",)),
        reach="commands",
    ),
}


def run(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    return BUILTINS[tool.data.get("builtin") or tool.name].run(tool, arguments, context)


def checked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data; raises UsageError for an unknown tool or a reach that is not its own."""
    name = str(data.get("builtin"))
    if name not in BUILTINS:
        raise unknown("built-in tool", name, BUILTINS)
    found = dict(data)
    if isinstance(found.get("command"), str):  # --command adds what run_command may run
        found["commands"] = [*(found.get("commands") or []), found.pop("command")]
    for reach in ("folders", "hosts", "commands"):
        if found.get(reach) and BUILTINS[name].reach != reach:
            raise UsageError(f'the built-in tool "{name}" has no {reach}')
        if not isinstance(found.get(reach) or [], list):
            raise UsageError(f'"{reach}" is a list')
    return found


TYPE = ToolType(run, checked)
