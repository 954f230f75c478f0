"""Tools of type ``command``: an argv with ``{slots}`` for arguments, or with the arguments on stdin or as flags.

No shell is involved unless the tool asks for one; then every argument is quoted.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import InvalidOutputError, UsageError
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, ToolType, subprocess_tool, templates

#: Values that may begin with "-" without being a flag. Not everything Python calls a number: ``-inf`` is three flags.
_NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?")

_ARGUMENT_MODES = ("stdin", "flags", "none")


def validate_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data to store, with the command as a list unless a shell reads it."""
    command = data.get("command")
    if isinstance(command, str) and not data.get("shell"):
        try:
            command = shlex.split(command)
        except ValueError as error:
            raise UsageError(f'cannot parse the command "{command}": {str(error).lower()}') from None
    if not command or not (isinstance(command, str) or _is_word_list(command)):
        raise UsageError("a tool of type command requires a command", hint="pass --command 'PROGRAM ARGUMENT {slot}'")
    if data.get("shell") and not isinstance(command, str):
        raise UsageError('a command with "shell" must be one string')
    if data.get("arguments", "stdin") not in _ARGUMENT_MODES:
        raise UsageError(f'"arguments" must be stdin, flags or none, got "{data["arguments"]}"')
    if not isinstance(command, str) and templates.list_slots(command[0]):
        raise UsageError("the program name cannot contain an argument", hint="see the built-in tool run_command")
    return {**data, "command": command}


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    passing = tool.data.get("arguments", "stdin")
    argv = _build_argv(tool.data["command"], arguments, passing == "flags")
    stdin = subprocess_tool.encode_arguments(arguments) if passing == "stdin" else b""
    return _parse_halt(
        tool, subprocess_tool.program_output(subprocess_tool.run_program(argv, context, stdin=stdin), context)
    )


def _build_argv(command: str | list[str], arguments: Mapping[str, Any], flags: bool) -> str | list[str]:
    """Return the argv, or the command line for the shell."""
    used = {
        name for word in ([command] if isinstance(command, str) else command) for name in templates.list_slots(word)
    }
    more = _build_flags(arguments, used) if flags else []
    if isinstance(command, str):
        return " ".join([templates.fill(command, arguments, shlex.quote), *map(shlex.quote, more)])
    return _fill_words(command, arguments) + more


def _fill_words(template: list[str], arguments: Mapping[str, Any]) -> list[str]:
    """Fill each word on its own: an argument never becomes two words, and never a flag of the program."""
    words: list[str] = []
    for word in template:
        filled = templates.fill(word, arguments)
        if word.startswith("{") and filled.startswith("-") and "--" not in words and not _NUMBER.fullmatch(filled):
            raise InvalidOutputError(f'an argument must not begin with "-", got "{filled[:80]}"')
        words.append(filled)
    return words


def _build_flags(arguments: Mapping[str, Any], used: set[str]) -> list[str]:
    """Return the arguments not used by a slot as ``--name=value``; true is a bare flag, false and null are left out."""
    flags: list[str] = []
    for name, value in arguments.items():
        if name in used or value is None or value is False:
            continue
        flag = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        flags += [flag if item is True else f"{flag}={templates.to_text(item)}" for item in values]
    return flags


def _parse_halt(tool: Tool, ran: Ran) -> Ran:
    """Read ``{"halt": true, "content": ...}`` as the final answer, if the tool may give one."""
    if not tool.data.get("halt") or ran.error or not ran.content.lstrip().startswith("{"):
        return ran
    try:
        envelope = json.loads(ran.content)
    except ValueError:
        return ran
    if envelope.get("halt") is not True:
        return ran
    return Ran(templates.to_text(envelope.get("content")), exit_status=ran.exit_status, halts=True)


def _is_word_list(command: Any) -> bool:
    return isinstance(command, list) and all(isinstance(word, str) for word in command) and bool(command[0].strip())


TYPE = ToolType(run, validate_data)
