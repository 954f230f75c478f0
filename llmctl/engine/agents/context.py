"""Who a turn is with beside the model: an agent, and the session that ties it to a chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Party(NamedTuple):
    """The agent that a turn is with, and the session it belongs to."""

    id: str
    name: str
    version: str
    session_id: str
    #: The definition in full, kept with the session to tell what changed.
    definition: Mapping[str, Any] = {}
    #: What the session knows; the instructions may name it.
    metadata: Mapping[str, Any] = {}
    #: The session is in the hub already.
    is_resumed: bool = False
    #: How many agents asked before this one.
    depth: int = 0
