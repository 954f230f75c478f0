"""A tool, how freely it may be used, and what a run of it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Permission = Literal["automatic", "user-permitted", "denied"]

#: What users may write for a permission.
PERMISSIONS: Mapping[str, Permission] = {
    "automatic": "automatic",
    "auto": "automatic",
    "user-permitted": "user-permitted",
    "ask": "user-permitted",
    "denied": "denied",
    "deny": "denied",
}


def check_name(name: str) -> str:
    """Return a tool's name; raise UsageError for one that not all providers take.

    https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools
    """
    import re

    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        from llmctl.core.errors import UsageError  # which a tool's own process needs as little as re

        raise UsageError(f'a tool cannot be called "{name}"', hint="letters, digits, _ and -; 64 at most")
    return name


class Halt(Exception):
    """Returned or raised by a Python tool: the run ends, and ``content`` is its final answer."""

    def __init__(self, content: str) -> None:
        super().__init__(content)
        self.content = content


class Tool(NamedTuple):
    """A thing that a model or a person may run. ``id`` is None where it is not in the hub."""

    name: str
    #: Name of the module in ``llmctl.tools`` that runs it.
    type: str
    description: str = ""
    #: JSON Schema of the arguments.
    schema: Mapping[str, Any] = {}
    #: How to run it: the words of its type.
    data: Mapping[str, Any] = {}
    id: str | None = None


class Ran(NamedTuple):
    """What a run gave: text for the model, and an error where it failed."""

    content: str
    error: str | None = None
    exit_status: int | None = None
    #: The run ends here: ``content`` is the final answer.
    halts: bool = False
