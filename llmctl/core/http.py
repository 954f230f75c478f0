"""HTTP as values: requests to send, and the frames of a streamed body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from llmctl.core.dialect import Dialect


class Endpoint(NamedTuple):
    """Where and how to reach a host. ``headers`` contain the key: never store or print them unredacted."""

    base_url: str
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    dialect: Dialect = Dialect()


class HttpRequest(NamedTuple):
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class ServerEvent(NamedTuple):
    """One frame of a stream: a server-sent event, or a line of NDJSON (``event`` is None)."""

    data: str
    event: str | None = None
