"""What the provider wants back unchanged: its reasoning, and the runs of its own tools, in their places.

A reasoning item is a part ``Thinking`` with the item in its drawer; its encrypted content is the signature, and a
text that stands in one piece is not kept twice. Any other item (a web search, code that was run) is in the
message's metadata under ``items``; an empty ``Thinking`` marks its place and says which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core.messages import Message, Thinking

#: Drawer of a reasoning item, and of the mark of another one.
_ITEM, _MARK = "responses_item", "responses_mark"
#: Key of the other items in a message's metadata.
ITEMS = "items"


def pieces_of(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pieces of text in a reasoning item: its summary, and the reasoning itself where a host shows it."""
    return _texts([*_list(item, "summary"), *_list(item, "content")])


def drawer_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a reasoning item beside its text and signature."""
    # A null, such as the status often is, is refused when it comes back.
    kept = {name: value for name, value in item.items() if name != "encrypted_content" and value is not None}
    if len(pieces_of(item)) == 1:
        for name in ("summary", "content"):
            pieces = _texts(_list(kept, name))
            if pieces:
                kept[name] = [{key: value for key, value in pieces[0].items() if key != "text"}]
    return {_ITEM: kept}


def mark_of(number: int) -> dict[str, Any]:
    """Return the drawer of the mark for an item among those of the message's metadata."""
    return {_MARK: number}


def item_of(part: Thinking, message: Message) -> dict[str, Any] | None:
    """Return the item that a part stands for; None where another wire made it, or it cannot be given back.

    Nothing is kept at the provider: an item without any content of its own would be asked for there.
    """
    if isinstance(number := part.metadata.get(_MARK), int):
        items = message.metadata.get(ITEMS)
        known = isinstance(items, list) and number < len(items) and isinstance(items[number], dict)
        return items[number] if known else None  # type: ignore[index]
    kept = part.metadata.get(_ITEM)
    if not isinstance(kept, Mapping) or not (part.signature or kept.get("content")):
        return None
    whole = {name: [_filled(piece, part.text) for piece in _list(kept, name)] for name in ("summary", "content")}
    whole = {name: pieces for name, pieces in whole.items() if pieces or name == "summary"}
    return {**kept, **whole} | ({"encrypted_content": part.signature} if part.signature else {})


def _texts(pieces: list[Any]) -> list[dict[str, Any]]:
    return [piece for piece in pieces if isinstance(piece, dict) and isinstance(piece.get("text"), str)]


def _filled(piece: Any, text: str) -> Any:
    return piece if not isinstance(piece, Mapping) or "text" in piece else {**piece, "text": text}


def _list(holder: Mapping[str, Any], name: str) -> list[Any]:
    value = holder.get(name)
    return value if isinstance(value, list) else []
