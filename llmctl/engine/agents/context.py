"""The agent and session a turn belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class AgentContext(NamedTuple):
    """The agent of a turn, and its session."""

    id: str
    name: str
    version: str
    session_id: str
    #: The full definition, stored with the session to show what changed.
    definition: Mapping[str, Any] = {}
    #: Metadata of the session, available in the instructions template.
    metadata: Mapping[str, Any] = {}
    #: The session exists in the hub.
    is_resumed: bool = False
    #: Number of calling agents.
    depth: int = 0
