"""Tools that are commands: a list of words with slots for arguments, or with the arguments on stdin or as flags.

No shell reads them unless the tool says so; then every argument is quoted for it.
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

#: What may begin with "-" and is no flag. Not all that Python takes for a number: ``-inf`` are three flags.
_NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?")

_PASSING = ("stdin", "flags", "none")


def checked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data with the command as a list, unless a shell is to read it."""
    command = data.get("command")
    if isinstance(command, str) and not data.get("shell"):
        try:
            command = shlex.split(command)
        except ValueError as error:
            raise UsageError(f'"{command}" is no command: {str(error).lower()}') from None
    if not command or not (isinstance(command, str) or _is_words(command)):
        raise UsageError("a tool of type command needs a command", hint="--command 'PROGRAM ARGUMENT {slot}'")
    if data.get("shell") and not isinstance(command, str):
        raise UsageError("a command for the shell is one text")
    if data.get("arguments", "stdin") not in _PASSING:
        raise UsageError(f'no way to pass arguments "{data["arguments"]}"', hint=f"there are {', '.join(_PASSING)}")
    if not isinstance(command, str) and templates.slots(command[0]):
        raise UsageError("the program itself cannot be an argument", hint="see the built-in run_command")
    return {**data, "command": command}


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    passing = tool.data.get("arguments", "stdin")
    argv = _argv(tool.data["command"], arguments, passing == "flags")
    stdin = subprocess_tool.as_stdin(arguments) if passing == "stdin" else b""
    return _halting(tool, subprocess_tool.ran(subprocess_tool.run(argv, context, stdin=stdin), context))


def _argv(command: str | list[str], arguments: Mapping[str, Any], flags: bool) -> str | list[str]:
    """Return the words to run, or the line for the shell."""
    used = {name for word in ([command] if isinstance(command, str) else command) for name in templates.slots(word)}
    more = _flags(arguments, used) if flags else []
    if isinstance(command, str):
        return " ".join([templates.fill(command, arguments, shlex.quote), *map(shlex.quote, more)])
    return _words(command, arguments) + more


def _words(template: list[str], arguments: Mapping[str, Any]) -> list[str]:
    """Fill the words in, each for itself: an argument never becomes two words, and never a flag of the program's."""
    words: list[str] = []
    for word in template:
        filled = templates.fill(word, arguments)
        if word.startswith("{") and filled.startswith("-") and "--" not in words and not _NUMBER.fullmatch(filled):
            raise InvalidOutputError(f'an argument may not begin with "-": "{filled[:80]}"')
        words.append(filled)
    return words


def _flags(arguments: Mapping[str, Any], used: set[str]) -> list[str]:
    """Return the arguments that no slot took as ``--name=value``; true is the bare flag, false and null are none."""
    flags: list[str] = []
    for name, value in arguments.items():
        if name in used or value is None or value is False:
            continue
        flag = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        flags += [flag if item is True else f"{flag}={templates.plain(item)}" for item in values]
    return flags


def _halting(tool: Tool, ran: Ran) -> Ran:
    """Take ``{"halt": true, "content": ...}`` for the final answer, where the tool is allowed to give it."""
    if not tool.data.get("halt") or ran.error or not ran.content.lstrip().startswith("{"):
        return ran
    try:
        envelope = json.loads(ran.content)
    except ValueError:
        return ran
    if envelope.get("halt") is not True:
        return ran
    return Ran(templates.plain(envelope.get("content")), exit_status=ran.exit_status, halts=True)


def _is_words(command: Any) -> bool:
    return isinstance(command, list) and all(isinstance(word, str) for word in command) and bool(command[0].strip())


TYPE = ToolType(run, checked)
