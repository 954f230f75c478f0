"""Tools of type ``command``: an argv with ``{slots}`` for arguments, or with the arguments on stdin or as flags.

No shell is involved unless the tool asks for one; it gets the arguments in variables. A command that would execute an
argument is refused, also at run time: it may come from an older version.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmctl.core.errors import InvalidOutputError, UsageError
from llmctl.core.tools import Ran, Tool
from llmctl.tools import Context, ToolType, shell_command, subprocess_tool, templates

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
    shell_command.parse(command, data.get("arguments", "stdin"))
    return {**data, "command": command}


def run(tool: Tool, arguments: Mapping[str, Any], context: Context) -> Ran:
    passing = tool.data.get("arguments", "stdin")
    stdin = subprocess_tool.encode_arguments(arguments) if passing == "stdin" else b""
    command, variables = _build_command(tool.data["command"], arguments, passing)
    context = replace(context, env={**context.env, **variables})
    return _parse_halt(
        tool, subprocess_tool.program_output(subprocess_tool.run_program(command, context, stdin=stdin), context)
    )


def preview(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Return the command line of a call as one would type it."""
    command, passing = tool.data["command"], tool.data.get("arguments", "stdin")
    words = [command] if isinstance(command, str) else command
    used = {name for word in words for name in templates.list_slots(word)}
    more = _build_flags(arguments, used) if passing == "flags" else []
    if isinstance(command, str):
        return " ".join([templates.fill(command, arguments, shlex.quote), *map(shlex.quote, more)])
    return shlex.join([*(templates.fill(word, arguments) for word in command), *more])


def _build_command(
    command: str | list[str], arguments: Mapping[str, Any], passing: str
) -> tuple[str | list[str], dict[str, str]]:
    """Return the argv and no variables, or a script for the shell and the variables with its arguments."""
    parsed = shell_command.parse(command, passing)
    words = [command] if isinstance(command, str) else command
    used = {name for word in words for name in templates.list_slots(word)}
    more = _build_flags(arguments, used) if passing == "flags" else []
    if parsed.script is None:
        return _fill_words(words, arguments) + more, {}
    values = [templates.argument_text(arguments, slot.name) for slot in parsed.slots]
    for simple_command in parsed.commands:
        _refuse_flags(simple_command, values)
    names = [f"{shell_command.VARIABLE_PREFIX}{number}" for number in range(len(values) + len(more))]
    script = " ".join([parsed.script, *(f'"${name}"' for name in names[len(values) :])])
    return script, dict(zip(names, (*values, *more), strict=True))


def _refuse_flags(words: Sequence[shell_command.Word], values: Sequence[str]) -> None:
    """Raise InvalidOutputError for an argument that would become a flag of a program."""
    for word in words:
        if word == ("--",):
            return
        if shell_command.leads_with_slot(word):
            _refuse_flag("".join(piece if isinstance(piece, str) else values[piece.number] for piece in word))


def _refuse_flag(text: str) -> None:
    if text.startswith("-") and not _NUMBER.fullmatch(text):
        raise InvalidOutputError(f'an argument must not begin with "-", got "{text[:80]}"')


def _fill_words(template: list[str], arguments: Mapping[str, Any]) -> list[str]:
    """Fill each word on its own: an argument never becomes two words, and never a flag of the program."""
    words: list[str] = []
    for word in template:
        filled = templates.fill(word, arguments)
        if word.startswith("{") and "--" not in words:
            _refuse_flag(filled)
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


TYPE = ToolType(run, validate_data, preview=preview)
