"""The flags that define a tool, for ``tool add`` and ``tool edit``. Their values go to ``app.turn_flags``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from typer.core import TyperOption

from llmctl.cli.turn.flags import repeatable_option, switch_option, value_option

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])

#: Attribute of a command function that takes these flags.
TOOL_FLAGS_ATTRIBUTE = "__tool_flags__"


def with_tool_flags(command: CommandFunction) -> CommandFunction:
    """Add the flags of this module to a command."""
    command.__dict__[TOOL_FLAGS_ATTRIBUTE] = True
    return command


def tool_options() -> list[TyperOption]:
    """Return the flags as typer options."""
    return [
        value_option("description", None, "TEXT", "Description of the tool for models."),
        value_option("schema", None, "FILE|JSON", "JSON Schema of the arguments."),
        value_option("command", None, "CMD", "Command to run, with {slots} for arguments."),
        switch_option("shell", None, "Run the command in a shell; arguments are quoted."),
        value_option("arguments", None, "MODE", "How to pass arguments: stdin (as JSON), flags or none. [stdin]"),
        value_option("file", None, "FILE", "Python or JavaScript file."),
        value_option("module", None, "MODULE", "Python module."),
        value_option("function", None, "NAME", "Function in the file or module."),
        value_option("url", None, "URL", "URL to request, with {slots} for arguments."),
        value_option("method", None, "METHOD", "HTTP method."),
        repeatable_option("header", None, "K=V", "HTTP header; V may be env:VAR. Repeatable."),
        value_option("body", None, "JSON|@FILE", "JSON request body, with {slots}."),
        repeatable_option("host", None, "HOST", "Allowed host, such as *.example.com. Repeatable."),
        repeatable_option("folder", None, "PATH", "Folder the tool may read. Repeatable."),
        repeatable_option("env", None, "NAME[=V]", "Environment variable to pass; V may be env:VAR. Repeatable."),
        value_option("cwd", None, "PATH", "Working directory."),
        value_option("timeout", None, "SECONDS", "Time limit of a run. [60]", float),
        value_option("output_limit", None, "N", "Bytes of the result passed to the model. [100000]", int),
        switch_option("halt", None, 'Treat the result {"halt": true, "content": …} as the final answer.'),
        value_option("data", None, "JSON|@FILE", "Additional tool data, as a JSON object."),
    ]
