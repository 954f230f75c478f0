"""Keywords of the Python API for the options of a turn: of ``ask`` and ``stream``, and attributes of agents.

Generated from llmctl/core/options.py by: python -m scripts.generate
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict


class TurnKeywords(TypedDict, total=False):
    """Options of a turn, by keyword."""

    #: File or URL to attach; - attaches stdin.
    files: Sequence[Any]
    #: Model to use: MODEL, CONNECTION:MODEL, a connection or an alias.
    model: str | None
    #: Connection to use.
    connection: str | None
    #: Model option, such as temperature=0.2; K:=JSON sends any name and value.
    options: Mapping[str, Any]
    #: Thinking effort: none, low, medium, high or a number of tokens.
    thinking: str | int | Mapping[str, int] | None
    #: Model to try if this one is unavailable or out of credit.
    fallback: Sequence[str]
    #: Require JSON that matches this schema, such as 'name, age int'.
    schema: Any
    #: Ask the model up to N times to correct invalid JSON.
    fix: int | None
    #: Request the whole answer at once.
    stream: bool
    #: Tool to offer: automatic, user-permitted or denied.
    tools: Sequence[Any]
    #: Run this tool without asking, in this command.
    approve: Sequence[str]
    #: Send only the last N turns.
    history: int | None
    #: Maximum number of model calls in a turn.
    max_steps: int | None
    #: Refuse any request that could push the total above USD.
    max_cost: float | None
    #: Time limit, including all retries.
    timeout: float | None
    #: Retries after a failed attempt.
    retries: int | None
    #: How long to wait for another process to release the chat.
    wait: float | None
    #: Use the stored answer of an equal request, at most TTL old.
    cache: str | float | bool | None
    #: Ask again, and use the new answer from now on.
    refresh: bool
    #: Only use stored answers; send nothing.
    cached_only: bool
    #: Add metadata to the chat, or set a custom column of that name.
    metadata: Mapping[str, Any]
    #: Link the chat to another record.
    references: Mapping[str, Any]
    #: Tag the requests.
    tag: str | None
    #: Discard an incomplete answer instead of keeping its text.
    rollback: bool


class AgentAttributes:
    """Options of an agent, by attribute of its class."""

    model: ClassVar[str | None] = None
    connection: ClassVar[str | None] = None
    options: ClassVar[Mapping[str, Any]] = {}
    thinking: ClassVar[str | int | Mapping[str, int] | None] = None
    fallback: ClassVar[Sequence[str]] = ()
    schema: ClassVar[Any] = None
    fix: ClassVar[int | None] = None
    tools: ClassVar[Sequence[Any]] = ()
    history: ClassVar[int | None] = None
    max_steps: ClassVar[int | None] = None
    max_cost: ClassVar[float | None] = None
    timeout: ClassVar[float | None] = None
    retries: ClassVar[int | None] = None
    cache: ClassVar[str | float | bool | None] = None
    tag: ClassVar[str | None] = None
