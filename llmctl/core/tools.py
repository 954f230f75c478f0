"""A tool, its permission, and the output of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from llmctl.core.values import Value

if TYPE_CHECKING:  # the worker process of a tool does not need it
    from llmctl.core.chat import File

Permission = Literal["automatic", "user-permitted", "denied"]

#: Accepted spellings of a permission.
PERMISSIONS: Mapping[str, Permission] = {
    "automatic": "automatic",
    "auto": "automatic",
    "user-permitted": "user-permitted",
    "ask": "user-permitted",
    "denied": "denied",
    "deny": "denied",
}


def require_valid_name(name: str) -> str:
    """Return a tool's name; raise UsageError for a name that not all providers accept.

    https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools
    """
    import re

    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        from llmctl.core.errors import UsageError  # the worker process of a tool needs neither this nor re

        raise UsageError(f'a tool name must be 1 to 64 letters, digits, "_" or "-", got "{name}"')
    return name


class Halt(Exception):
    """Returned or raised by a Python tool: the run ends with ``content`` as its final answer."""

    def __init__(self, content: str) -> None:
        super().__init__(content)
        self.content = content


class Tool(Value):
    """A tool that a model or a user may run. ``id`` is None if it is not in the hub."""

    name: str
    #: Name of the module in ``llmctl.tools`` that runs it.
    type: str
    description: str = ""
    #: JSON Schema of the arguments.
    schema: Mapping[str, Any] = {}
    #: How to run it: the fields of its type.
    data: Mapping[str, Any] = {}
    id: str | None = None


class Ran(Value):
    """The output of a run: text for the model, and an error if it failed."""

    content: str
    error: str | None = None
    exit_status: int | None = None
    #: The turn ends here: ``content`` is the final answer.
    halts: bool = False
    #: Images and other files for the model; ``content`` names them.
    files: tuple[File, ...] = ()


#: A model may make up any name: limit what is repeated to it.
_MAX_NAME_CHARS = 100


def printable_name(name: str) -> str:
    """Return a tool name from a model, shortened and without control characters."""
    printable = "".join(c if c.isprintable() else "\ufffd" for c in name[:_MAX_NAME_CHARS])
    return printable + ("…" if len(name) > _MAX_NAME_CHARS else "")
