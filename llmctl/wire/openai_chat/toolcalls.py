"""Tool calls as hosts send them: in pieces by index, or whole, with or without index, id and arguments."""

from __future__ import annotations

import json
from typing import Any

from llmctl.core.events import ToolCallDelta
from llmctl.core.stored_json import dumps


class _Call:
    """One call so far; ``index`` is ours, in order of appearance."""

    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def take(self, id: str, name: str, arguments: str) -> None:
        self.id = id or self.id
        self.name = name or self.name
        self.arguments.append(arguments)

    def is_whole(self) -> bool:
        """Return whether the arguments are complete: then a name begins a call rather than repeating itself."""
        try:
            json.loads("".join(self.arguments))
        except ValueError:
            return False
        return True


class ToolCalls:
    """The calls of one answer: which call a piece belongs to, and an id for those that come without one."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._open: dict[int | None, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, piece: dict[str, Any], *, whole: bool = False) -> ToolCallDelta | None:
        """Return the event for one piece. A ``whole`` piece (no stream) is always a call of its own."""
        function = piece.get("function") or piece.get("custom")
        function = function if isinstance(function, dict) else {}
        id, name = _text(piece.get("id")), _text(function.get("name"))
        arguments = _arguments(function.get("arguments", function.get("input")))
        index = piece.get("index")
        index = index if isinstance(index, int) else None
        call = None if whole else self._running(index, id, name)
        if call is None:
            return self._begin(piece, index, id, name, arguments) if id or name or arguments else None
        event = ToolCallDelta(call.index, _new(id, call.id), _new(name, call.name), arguments, _extra(piece))
        call.take(id, name, arguments)
        return event

    def _running(self, index: int | None, id: str, name: str) -> _Call | None:
        """Return the call that a piece goes on with, None where it begins one."""
        call = self._open.get(index)
        if call is None and id and (index is None or not name):
            call = next((known for known in self._calls if known.id == id), None)
        elif call is None and self._calls and (index is None or not name):
            call = self._calls[-1]
        if call is None or (id and call.id and id != call.id):
            return None  # Some hosts send every call as number 0.
        if name and call.name and not id and (name != call.name or call.is_whole()):
            return None
        return call

    def _begin(self, piece: dict[str, Any], index: int | None, id: str, name: str, arguments: str) -> ToolCallDelta:
        call = _Call(len(self._calls))
        call.take(id, name, arguments)
        self._calls.append(call)
        if index is not None:
            self._open[index] = call
        metadata = _extra(piece)
        if not id and isinstance(piece.get("id"), str):
            metadata["provider_id"] = piece["id"]
        return ToolCallDelta(call.index, id or f"call_{call.index}", name, arguments, metadata)


def _arguments(value: Any) -> str:
    """Return JSON text; some hosts send the object itself."""
    if value is None or isinstance(value, str):
        return value or ""
    return dumps(value)


def _extra(piece: dict[str, Any]) -> dict[str, Any]:
    """Return what Gemini wants back with the call: its thought signature."""
    extra = piece.get("extra_content")
    return {"extra_content": extra} if extra else {}


def _new(value: str, known: str) -> str | None:
    return value if value and value != known else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
