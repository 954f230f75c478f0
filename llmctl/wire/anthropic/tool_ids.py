"""Ids of tool calls as Anthropic takes them: letters, digits, ``_`` and ``-``, and none twice in a request."""

from __future__ import annotations

from llmctl.wire.tool_call_compat import fitting_id

_ID = r"[a-zA-Z0-9_-]{1,64}"


class ToolIds:
    """The ids of one request. Other providers use other characters, longer ids, and the same one in later turns."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._latest: dict[str, str] = {}
        self._uses: dict[str, int] = {}

    def of_call(self, id: str) -> str:
        """Return the id to send for a call, another one where it was used before."""
        plain = sent = fitting_id(id, _ID)
        while sent in self._taken:
            self._uses[plain] = number = self._uses.get(plain, 1) + 1
            sent = f"{plain[:56]}_{number}"
        self._taken.add(sent)
        self._latest[id] = sent
        return sent

    def of_result(self, id: str) -> str:
        """Return the id of the nearest call before it."""
        return self._latest.get(id) or fitting_id(id, _ID)
