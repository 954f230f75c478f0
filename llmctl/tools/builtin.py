"""Built-in tools. Each may only reach the folders, hosts or commands listed in its data."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from llmctl.core.errors import DeniedError, InvalidOutputError, NotFoundError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.registry import unknown_name_error
from llmctl.core.tools import Ran, Tool
from llmctl.core.values import Value
from llmctl.tools import Context, ToolType, argument_patterns, subprocess_tool
from llmctl.tools.host_allowlist import require_allowed_host, to_tool_output
from llmctl.tools.path_sandbox import PathSandbox

Arguments = Mapping[str, Any]


class BuiltinTool(Value):
    """A built-in tool: its function, its arguments, and the allowlist in its data."""

    run: Callable[[Tool, Arguments, Context], Ran]
    description: str
    schema: Mapping[str, Any]
    #: Key of its data that lists what else it may reach.
    allowlist_key: str | None = None
    #: Arguments that rules do not compare as plain text.
    kinds: Mapping[str, argument_patterns.Kind] = {}


def _get_time(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    zone = arguments.get("zone")
    if not zone:
        return Ran(datetime.now().astimezone().isoformat(timespec="seconds"))
    from zoneinfo import ZoneInfo

    try:
        return Ran(datetime.now(ZoneInfo(zone)).isoformat(timespec="seconds"))
    except (KeyError, ValueError, OSError):
        raise NotFoundError(f'no time zone "{zone}"') from None


def _read_file(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    data = _open_sandbox(tool, context).read_file(arguments["path"], context.most_bytes)
    if b"\0" in data:
        raise InvalidOutputError(f'"{arguments["path"]}" is not a text file')
    return Ran(subprocess_tool.truncate(data.decode("utf-8", "replace"), context.most_bytes))


def _list_files(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    entries = _open_sandbox(tool, context).list_entries(arguments.get("path") or ".")
    return Ran(subprocess_tool.truncate("\n".join(entries) or "[nothing]", context.most_bytes))


def _fetch_url(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    url = arguments["url"]
    require_allowed_host(url, tool.data.get("hosts") or (), context.reaches, tool.name)
    return to_tool_output(context.fetch(HttpRequest("GET", url, {}), **_fetch_limits(context)), context)


def _run_command(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    try:
        words = shlex.split(arguments["command"])
    except ValueError as error:
        raise InvalidOutputError(f"cannot parse the command: {str(error).lower()}") from None
    if not words:
        raise InvalidOutputError("the command is empty")
    rules = tool.data.get("commands") or ()
    if not any(argument_patterns.command_is_allowed(rule, words, context.folder) for rule in rules):
        raise DeniedError(
            f'this tool may not run "{shlex.join(words)}"',
            hint=f"allow it: llmctl tool edit {tool.name} --command '{words[0]} *'",
            reason="confined",
        )
    return subprocess_tool.program_output(subprocess_tool.run_program(words, context), context)


def _open_sandbox(tool: Tool, context: Context) -> PathSandbox:
    return PathSandbox(tool.data.get("folders") or (".",), context.folder, context.private)


def _fetch_limits(context: Context) -> dict[str, Any]:
    return {"timeout_s": context.timeout_s, "most_bytes": context.most_bytes}


def _object_schema(properties: Mapping[str, str], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
        "required": list(required),
        "additionalProperties": False,
    }


BUILTINS: Mapping[str, BuiltinTool] = {
    "time": BuiltinTool(
        _get_time,
        "Tell the date and time.",
        _object_schema({"zone": "IANA time zone, such as Europe/Rome; local time if absent"}),
    ),
    "read_file": BuiltinTool(
        _read_file,
        "Read a text file.",
        _object_schema({"path": "Path of the file"}, ("path",)),
        "folders",
        {"path": "path"},
    ),
    "list_files": BuiltinTool(
        _list_files,
        "List a folder; names of folders end in a slash.",
        _object_schema({"path": "Path of the folder; the working folder if absent"}),
        "folders",
        {"path": "path"},
    ),
    "fetch_url": BuiltinTool(
        _fetch_url,
        "Fetch a URL and return its text.",
        _object_schema({"url": "An http or https URL"}, ("url",)),
        "hosts",
        {"url": "url"},
    ),
    "run_command": BuiltinTool(
        _run_command,
        "Run a program with arguments, without a shell: no pipes, no redirection, no variables.",
        _object_schema({"command": "The command line, quoted as for a shell"}, ("command",)),
        "commands",
        {"command": "command"},
    ),
}


def run(tool: Tool, arguments: Arguments, context: Context) -> Ran:
    return BUILTINS[tool.data.get("builtin") or tool.name].run(tool, arguments, context)


def preview(tool: Tool, arguments: Arguments) -> str | None:
    """Return the command line or request of a call; None for tools without one."""
    match tool.data.get("builtin") or tool.name:
        case "run_command":
            return str(arguments["command"])
        case "fetch_url":
            return f"GET {arguments['url']}"
    return None


def argument_kind(tool: Tool, argument: str) -> argument_patterns.Kind:
    """Return what an argument of a tool is, for the patterns of rules."""
    builtin = BUILTINS.get(tool.data.get("builtin") or tool.name) if tool.type == "builtin" else None
    return builtin.kinds.get(argument, "text") if builtin else "text"


def validate_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data to store. Raises UsageError for an unknown tool, or an allowlist of another tool."""
    name = str(data.get("builtin"))
    if name not in BUILTINS:
        raise unknown_name_error("built-in tool", name, BUILTINS)
    validated = dict(data)
    if isinstance(validated.get("command"), str):  # --command adds to the commands that run_command may run
        validated["commands"] = [*(validated.get("commands") or []), validated.pop("command")]
    for key in ("folders", "hosts", "commands"):
        if validated.get(key) and BUILTINS[name].allowlist_key != key:
            raise UsageError(f'the built-in tool "{name}" takes no {key}')
        if not isinstance(validated.get(key) or [], list):
            raise UsageError(f'"{key}" must be a list')
    return validated


TYPE = ToolType(run, validate_data, preview=preview)
