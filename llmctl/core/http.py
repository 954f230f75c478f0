"""HTTP as values: what a wire wants sent, and the frames a body is cut into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmctl.core.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to reach a model's host. ``headers`` carry the key: never store or print them unredacted."""

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    dialect: Dialect = field(default_factory=Dialect)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One frame of a stream: a server-sent event, or a line of NDJSON (``event`` is None)."""

    data: str
    event: str | None = None
