"""Pair tool results with their calls where a source does not, or not always, give ids."""

from __future__ import annotations


class OpenCalls:
    """The calls of a conversation without a result, in order: a result belongs to one of the last group of calls."""

    def __init__(self) -> None:
        #: Name and id of each open call.
        self._open: list[tuple[str, str]] = []
        self._is_answered = False

    def add(self, id: str | None, name: str, default_id: str) -> str:
        """Record a call; return its id: the source's, else the default, which must be unique in the conversation."""
        if self._is_answered:
            self._open, self._is_answered = [], False
        self._open.append((name, id or default_id))
        return id or default_id

    def answer(self, id: str | None, name: str | None = None) -> str:
        """Return the id of the call that a result belongs to; empty if there is none.

        A result without an id answers the first open call of its name, else the first open call.
        """
        self._is_answered = True
        if id:
            self._open = [call for call in self._open if call[1] != id]
            return id
        named = [call for call in self._open if call[0] == name]
        found = next(iter(named or self._open), None)
        if found is None:
            return ""
        self._open.remove(found)
        return found[1]
