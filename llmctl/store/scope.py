"""What ``stats`` counts."""

from __future__ import annotations

from typing import NamedTuple


class Scope(NamedTuple):
    """What is counted: all that is set must hold. ``since`` is inclusive, ``until`` exclusive.

    Agents and connections go by name in the ledger, which outlives them; by id among the chats.
    """

    chat_id: str | None = None
    agent: str | None = None
    agent_id: str | None = None
    connection: str | None = None
    connection_id: str | None = None
    since: str | None = None
    until: str | None = None

    def between(self, time: str) -> list[str]:
        """Return the conditions that keep a column within the range of time."""
        return [f"{time} >= :since"] * bool(self.since) + [f"{time} < :until"] * bool(self.until)
