"""Citations in ChatGPT's texts: markers of private-use characters that refer to the message's metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

#: ``<E200>kind<E202>arguments<E201>``; other characters of the block enclose words that stay.
_MARKER = re.compile("\ue200([^\ue200\ue201\ue202]*)(?:\ue202([^\ue200\ue201]*))?\ue201")
_PRIVATE = re.compile("[\ue200-\ue2ff]")


def resolve_citations(text: str, metadata: Mapping[str, Any]) -> str:
    """Return a text with its markers replaced by what they refer to, or removed."""
    if not _PRIVATE.search(text):
        return text
    for marker, replacement in _list_references(metadata):
        text = text.replace(marker, replacement)
    return _PRIVATE.sub("", _MARKER.sub(_resolve_marker, text))


def _list_references(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    references = metadata.get("content_references")
    found = []
    for one in references if isinstance(references, list) else ():
        marker = one.get("matched_text") if isinstance(one, dict) else None
        if isinstance(marker, str) and _PRIVATE.search(marker):
            replacement = one.get("alt") or one.get("prompt_text")
            found.append((marker, replacement if isinstance(replacement, str) else _links(one)))
    return found


def _links(reference: Mapping[str, Any]) -> str:
    """Return the sources of a reference as Markdown links."""
    items = reference.get("items")
    links = [
        f"[{one.get('title') or one['url']}]({one['url']})"
        for one in (items if isinstance(items, list) else ())
        if isinstance(one, dict) and isinstance(one.get("url"), str)
    ]
    return f"({', '.join(links)})" if links else ""


def _resolve_marker(found: re.Match[str]) -> str:
    """Return the name of an entity; other markers name a search result that the export does not contain."""
    if found[1] != "entity":
        return ""
    try:
        values = json.loads(found[2] or "")
    except (ValueError, RecursionError):
        return ""
    return str(values[1]) if isinstance(values, list) and len(values) > 1 else ""
