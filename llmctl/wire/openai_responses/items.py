"""Tell the items of a streamed response apart, whatever of their identity a host repeats from event to event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmctl.wire.tool_calls import CallArguments

#: Kinds of items that are read; any other kind is kept as it is.
MESSAGE, REASONING, CALL = "message", "reasoning", "function_call"


class Identity:
    """What an event says about which item it belongs to. Each of it may be missing, shared or change."""

    __slots__ = ("call_id", "id", "kind", "place")

    def __init__(self, kind: str, place: Any = None, id: Any = None, call_id: Any = None) -> None:
        self.kind = kind
        self.place = place if isinstance(place, int) else None
        self.id = id if id and isinstance(id, str) else None
        self.call_id = call_id if call_id and isinstance(call_id, str) else None

    @classmethod
    def of_event(cls, kind: str, event: Mapping[str, Any]) -> Identity:
        return cls(kind, event.get("output_index"), event.get("item_id"), event.get("call_id"))

    @classmethod
    def of_item(cls, item: Mapping[str, Any], place: Any) -> Identity:
        return cls(str(item.get("type")), place, item.get("id"), item.get("call_id"))


class Item:
    """How much of an item has been emitted."""

    __slots__ = (
        "arguments",
        "call_id",
        "has_arguments",
        "ids",
        "index",
        "is_finished",
        "is_signed",
        "kind",
        "name",
        "parts",
        "phase",
        "place",
    )

    def __init__(self, kind: str, index: int) -> None:
        self.kind = kind
        #: Number among the items, for a call among the calls.
        self.index = index
        self.place: int | None = None
        self.ids: set[str] = set()
        self.call_id: str | None = None
        #: Whether its last event arrived.
        self.is_finished = False
        #: Whether the last event of a call's arguments arrived.
        self.has_arguments = False
        #: Whether the signature of a reasoning item was emitted.
        self.is_signed = False
        #: Phase of a message (commentary or final answer), if the model reports it.
        self.phase: str | None = None
        self.name: str | None = None
        #: The emitted pieces of each part of a text, in order.
        self.parts: dict[Any, list[str]] = {}
        self.arguments = CallArguments()

    @property
    def text(self) -> str:
        return "".join(piece for pieces in self.parts.values() for piece in pieces)

    def add(self, part: Any, text: str) -> str:
        self.parts.setdefault(part, []).append(text)
        return text

    def find_rest(self, part: Any, whole: str) -> str:
        """Return what a finished part has beyond what was emitted.

        Text that was shown cannot be taken back: nothing, if the finished part begins differently.
        """
        known = "".join(self.parts.get(part, ()))
        if not known and self.text.endswith(whole):
            return ""  # emitted under another number
        return whole[len(known) :] if whole.startswith(known) else ""

    def matches(self, wanted: Identity) -> bool:
        """Return whether both id and place are those of the item, as far as both are known."""
        is_same_place = wanted.place is None or self.place is None or wanted.place == self.place
        return wanted.id in self.ids and is_same_place

    def learn(self, seen: Identity) -> None:
        if seen.id:
            self.ids.add(seen.id)
        self.place = seen.place if self.place is None else self.place
        self.call_id = self.call_id or seen.call_id


class ItemTable:
    """The items of a response in order of appearance.

    Kind and id count before the place: gateways put all items at place 0, or give each event an id of its own.
    """

    def __init__(self) -> None:
        self._items: list[Item] = []
        #: The item of the last piece: most pieces follow one of the same item.
        self._last: tuple[tuple[Any, ...], Item] | None = None

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def find(self, wanted: Identity) -> Item:
        """Return the item that a piece belongs to; a new one if there is none."""
        key = (wanted.kind, wanted.place, wanted.id, wanted.call_id)
        if self._last and self._last[0] == key:
            return self._last[1]
        own = self._of_kind(wanted.kind)
        item = _last_of(item for item in own if item.matches(wanted)) or _last_of(
            item for item in own if not item.is_finished and _may_be_at(item, wanted.place)
        )
        item = self._know(item, wanted)
        self._last = (key, item)
        return item

    def begin(self, wanted: Identity) -> Item:
        """Return the item that is announced: a new one, unless it is known by its id or already has pieces."""
        self._last = None
        own = self._of_kind(wanted.kind)
        known = [item for item in own if not item.is_finished and _is_known(item, wanted)]
        early = [item for item in own if not (item.is_finished or item.ids or item.call_id or item.name)]
        return self._know(_last_of(known or early), wanted)

    def end(self, wanted: Identity, text: str) -> Item:
        """Return the item that is finished. ``text`` helps where nothing else says which of several it is."""
        self._last = None
        own = self._of_kind(wanted.kind)
        known = [item for item in own if _is_known(item, wanted)]
        open = [item for item in own if not item.is_finished and _may_be_at(item, wanted.place)]
        fitting = [item for item in open if text.startswith(item.text)]
        item = self._know(next(iter(known or fitting or open), None), wanted)
        item.is_finished = True
        return item

    def match_output(self, output: Iterable[tuple[Identity, Any]]) -> list[tuple[Item, Any]]:
        """Return the items of a finished response with what it says of each; those that no event told are new.

        By id, then by place, then in order.
        """
        self._last = None
        wanted = list(output)
        found: dict[int, Item] = {}
        free = list(self._items)
        for rule in (_has_call_id, _has_id, _has_place, _has_kind):
            for number, (identity, _) in enumerate(wanted):
                item = next((item for item in free if rule(item, identity)), None) if number not in found else None
                if item:
                    found[number] = item
                    free.remove(item)
        return [(self._know(found.get(number), identity), data) for number, (identity, data) in enumerate(wanted)]

    def _of_kind(self, kind: str) -> list[Item]:
        return [item for item in self._items if item.kind == kind]

    def _know(self, item: Item | None, seen: Identity) -> Item:
        if item is None:
            index = len(self._of_kind(CALL)) if seen.kind == CALL else len(self._items)
            item = Item(seen.kind, index)
            self._items.append(item)
        item.learn(seen)
        return item


def _last_of(items: Iterable[Item]) -> Item | None:
    return next(reversed(list(items)), None)


def _may_be_at(item: Item, place: int | None) -> bool:
    return place is None or item.place in (None, place)


def _is_known(item: Item, wanted: Identity) -> bool:
    if wanted.call_id and item.call_id:
        return wanted.call_id == item.call_id and _may_be_at(item, wanted.place)
    return item.matches(wanted)


def _has_call_id(item: Item, wanted: Identity) -> bool:
    return item.kind == wanted.kind and wanted.call_id is not None and item.call_id == wanted.call_id


def _has_id(item: Item, wanted: Identity) -> bool:
    return item.kind == wanted.kind and wanted.id in item.ids


def _has_place(item: Item, wanted: Identity) -> bool:
    return item.kind == wanted.kind and item.place == wanted.place


def _has_kind(item: Item, wanted: Identity) -> bool:
    return item.kind == wanted.kind
