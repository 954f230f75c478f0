"""Join the pieces of tool calls as hosts send them: by index, by id, whole, repeated, growing; shared by all wires."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from llmctl.core.chat import ToolCallDelta
from llmctl.core.stored_values import dumps

#: Arguments that announce a call before its arguments arrive.
_PLACEHOLDERS = ("{}", "null", '""')

#: A piece of arguments, and whether it replaces what came before.
Piece = tuple[str, bool]

_NOTHING: Piece = ("", False)


def encode_arguments(value: Any) -> str:
    """Return the arguments as JSON text; some hosts send the object itself."""
    if value is None or isinstance(value, str):
        return value or ""
    return dumps(value)


class CallArguments:
    """The arguments of one call, joined from pieces.

    Pieces follow each other, except that an object that starts where one ended replaces it (a placeholder, or arguments
    that are sent twice), and that pieces may be snapshots, each with everything so far.
    """

    __slots__ = ("_all", "_pieces", "_snapshot", "_was_snapshot")

    def __init__(self) -> None:
        #: The pieces that count.
        self._pieces: list[str] = []
        #: All pieces since the last start, while they may be snapshots; the last one, if it began with those before.
        self._all: list[str] | None = []
        self._snapshot: str | None = ""
        self._was_snapshot = False

    @property
    def text(self) -> str:
        return _join(self._pieces)

    def is_complete(self) -> bool:
        """Return whether the arguments are JSON."""
        last = self._pieces[-1].rstrip()[-1:] if self._pieces else ""
        return (last == "}" and _is_json(self.text)) or self.is_placeholder()

    def is_placeholder(self) -> bool:
        return len(self._pieces) == 1 and self._pieces[0].strip() in _PLACEHOLDERS

    def add(self, piece: str) -> Piece:
        """Return what a piece contributes."""
        if not piece:
            return _NOTHING
        if starts_object(piece) and self.is_complete():
            is_repeated = piece == self.text or piece.strip() in _PLACEHOLDERS
            return _NOTHING if is_repeated else self._replace(piece)
        if self._all is not None and (better := self._compare_snapshots(piece, self._all)):
            self._pieces = [better]
            return better, True
        self._pieces.append(piece)
        return piece, False

    def complete(self, whole: str) -> Piece:
        """Return what the finished arguments add to the pieces, or correct in them."""
        text = self.text
        if not whole or whole == text or (text and whole.strip() in _PLACEHOLDERS):
            return _NOTHING
        if whole.startswith(text):
            self._pieces.append(rest := whole[len(text) :])
            return rest, False
        return self._replace(whole) if _is_json(whole) or not _is_json(text) else _NOTHING

    def _replace(self, text: str) -> Piece:
        self._pieces, self._all, self._snapshot, self._was_snapshot = [text], [text], text, False
        return text, True

    def _compare_snapshots(self, piece: str, all: list[str]) -> str | None:
        """Return what the pieces mean if they do not just follow each other; None if they do."""
        all.append(piece)
        if self._snapshot is not None:
            self._snapshot = piece if piece.startswith(self._snapshot) else None
        if self._snapshot is None and not self._was_snapshot:
            self._all = None
        elif len(all) > 1 and piece.rstrip().endswith("}"):
            if _is_json(whole := "".join(all)):  # what looked like a snapshot was an object inside the arguments
                return whole if self._was_snapshot else None
            if self._snapshot is not None and _is_json(piece):
                self._was_snapshot = True
                return piece
        return None


def starts_object(text: str) -> bool:
    return text.lstrip()[:1] == "{"


def _join(pieces: list[str]) -> str:
    """Return the pieces as one, also in the list: joining again takes no time."""
    if len(pieces) != 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _PartialCall:
    """A call as received so far; ``index`` is ours, in order of appearance."""

    __slots__ = ("arguments", "id", "index", "name", "place")

    def __init__(self, index: int, place: int | None) -> None:
        self.index = index
        #: The host's index.
        self.place = place
        self.id = ""
        self.name = ""
        self.arguments = CallArguments()

    def continues_with(self, arguments: str) -> bool:
        """Return whether these arguments go on where the others stopped."""
        text = self.arguments.text
        return bool(text and arguments) and not starts_object(arguments) and not self.arguments.is_complete()

    def add_name(self, name: str) -> str | None:
        """Return the name if it changes. It may be repeated, grow, or come in fragments before the arguments."""
        if not name or name == self.name:
            return None
        is_fragment = self.name and not name.startswith(self.name) and not self.arguments.text
        self.name = self.name + name if is_fragment else name
        return self.name


class ToolCallAssembler:
    """Assigns pieces of tool calls to calls, and ids to calls without one.

    Hosts send calls in pieces by index, or whole, with or without index, id and arguments.
    """

    def __init__(self) -> None:
        self._calls: list[_PartialCall] = []
        self._by_id: dict[str, _PartialCall] = {}
        #: The call that each index continues.
        self._open: dict[int, _PartialCall] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, pieces: Iterable[dict[str, Any]], *, whole: bool = False) -> list[ToolCallDelta]:
        """Return the events of the pieces in one chunk. In a ``whole`` response each is a separate call."""
        events: list[ToolCallDelta] = []
        named: list[_PartialCall] = []
        for piece in pieces:
            function = piece.get("function") or piece.get("custom")
            function = function if isinstance(function, dict) else {}
            id, name = _as_text(piece.get("id")), _as_text(function.get("name"))
            arguments = encode_arguments(function.get("arguments", function.get("input")))
            if not (id or name or arguments):
                continue
            index = piece.get("index")
            index = index if isinstance(index, int) else None
            call = None if whole else self._find_call(index, id, name, arguments)
            if call is None or (name and call in named):  # a chunk has at most one piece of a call
                call = self._begin_call(index)
                events.append(_first_event(call, piece, id, name, arguments))
            else:
                events.append(_next_event(call, piece, id, name, arguments))
            self._remember(call, index, id)
            named += [call] if name else []
        return events

    def _find_call(self, index: int | None, id: str, name: str, arguments: str) -> _PartialCall | None:
        """Return the call that a piece continues; None if it starts a new one."""
        if known := self._by_id.get(id):
            return None if name and _is_another(known, index, arguments) else known
        call = self._open.get(index) if index is not None else self._calls[-1] if self._calls else None
        if call is None:
            return self._calls[-1] if self._calls and not id and not name else None
        if not name or not call.name:
            return call  # some hosts give each piece an id of its own
        if id and call.id:
            return call if name == call.name and call.continues_with(arguments) else None
        if call.arguments.is_complete() or (name != call.name and (index is None or call.arguments.text)):
            return None
        return call

    def _begin_call(self, index: int | None) -> _PartialCall:
        call = _PartialCall(len(self._calls), index)
        self._calls.append(call)
        return call

    def _remember(self, call: _PartialCall, index: int | None, id: str) -> None:
        if index is not None:
            self._open[index] = call
        if id:
            self._by_id[id] = call


def _is_another(known: _PartialCall, index: int | None, arguments: str) -> bool:
    """Return whether a named piece with the id of a call starts another: some models use an id twice."""
    if index is not None and known.place is not None and index != known.place:
        return not known.continues_with(arguments)
    if index is not None or known.arguments.is_placeholder():
        return False
    return starts_object(arguments) and known.arguments.is_complete() and arguments != known.arguments.text


def _first_event(call: _PartialCall, piece: dict[str, Any], id: str, name: str, arguments: str) -> ToolCallDelta:
    call.id, call.name = id, name
    call.arguments.add(arguments)
    metadata = _extra_metadata(piece)
    if not id and isinstance(piece.get("id"), str):
        metadata["provider_id"] = piece["id"]
    return ToolCallDelta(call.index, id or f"call_{call.index}", name, arguments, metadata)


def _next_event(call: _PartialCall, piece: dict[str, Any], id: str, name: str, arguments: str) -> ToolCallDelta:
    new_id = id if id and not call.id else None
    call.id = call.id or id
    new_name = call.add_name(name)
    text, replaces = call.arguments.add(arguments)
    return ToolCallDelta(call.index, new_id, new_name, text, _extra_metadata(piece), replaces)


def _extra_metadata(piece: dict[str, Any]) -> dict[str, Any]:
    """Return what Gemini expects back with the call: its thought signature."""
    extra = piece.get("extra_content")
    return {"extra_content": extra} if extra else {}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else ""
