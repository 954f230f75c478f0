"""The flags that say what a tool is, for ``tool add`` and ``tool edit``. Their values land in ``app.asking``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from typer.core import TyperOption

from llmctl.cli.turn.flags import flag, many, text

Command = TypeVar("Command", bound=Callable[..., Any])

#: Attribute of a command's function that says that it takes these flags.
FLAGS = "__describing__"


def describing(command: Command) -> Command:
    """Give a command the flags of this module."""
    command.__dict__[FLAGS] = True
    return command


def tool_options() -> list[TyperOption]:
    """Return the flags as typer's own options."""
    return [
        text("description", None, "T", "What it does, as models read it."),
        text("schema", None, "FILE|JSON", "JSON Schema of the arguments."),
        text("command", None, "CMD", "Program and words, with {slots} for arguments."),
        flag("shell", None, "Let a shell read the command; arguments are quoted for it."),
        text("arguments", None, "HOW", "Pass arguments on stdin (as JSON), as flags, or none. [stdin]"),
        text("file", None, "FILE", "Python or JavaScript file."),
        text("module", None, "M", "Python module."),
        text("function", None, "F", "Function in the file or module."),
        text("url", None, "URL", "Request this, with {slots} for arguments."),
        text("method", None, "M", "Method of the request."),
        many("header", None, "K=V", "Header of the request; V may be env:VAR."),
        text("body", None, "JSON|@FILE", "JSON body of the request, with {slots}."),
        many("host", None, "HOST", "Host that it may reach, such as *.example.com."),
        many("folder", None, "PATH", "Folder that it may read."),
        many("env", None, "NAME[=V]", "Pass this variable on; V may be env:VAR."),
        text("cwd", None, "PATH", "Folder to run it in."),
        text("timeout", None, "S", "Seconds that it may take. [60]", float),
        text("output_limit", None, "N", "Bytes of its result that a model gets. [100000]", int),
        flag("halt", None, 'Let {"halt": true, "content": …} be the final answer.'),
        text("data", None, "JSON|@FILE", "More of the tool's data, as an object."),
    ]
