"""ChatGPT's data export: ``conversations.json``, an array of trees of messages.

https://help.openai.com/en/articles/7260999-how-do-i-export-my-chatgpt-history-and-data
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import File, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.core.imported_conversation import (
    FILE_REFERENCE_KEY,
    ImportedConversation,
    ImportedMessage,
    SkipCounter,
    SkippedItems,
    refer_to_file,
)
from llmctl.core.stored_values import dumps
from llmctl.formats.imports import Format
from llmctl.formats.message_links import OpenCalls, iter_branches

SOURCE = "chatgpt"
_ROLES = ("system", "user", "assistant", "tool")
#: Seconds; later times are milliseconds, or wrong.
_MAX_TIME = 1e11
#: Keys of a conversation that are kept as metadata of the chat.
_METADATA = ("gizmo_id", "conversation_template_id", "is_archived", "is_starred", "voice")
#: Types of content that hold the user's own instructions, and the model's memory.
_INSTRUCTIONS, _MEMORY = "user_editable_context", "model_editable_context"
#: Keys of a content that hold its text.
_TEXT_KEYS = ("text", "result", "content", "summary", "snippet", "model_set_context")


def is_conversation(item: Any) -> bool:
    """Return whether a document is a conversation of this format."""
    mapping = item.get("mapping") if isinstance(item, dict) else None
    if not isinstance(mapping, dict):
        return False
    return "current_node" in item or any(isinstance(node, dict) and "message" in node for node in mapping.values())


def read_conversation(item: Mapping[str, Any]) -> Iterator[ImportedConversation | SkippedItems]:
    """Yield the current branch, then the others as forks of it."""
    skipped = SkipCounter()
    nodes = {id: node for id, node in item["mapping"].items() if isinstance(node, dict)}
    messages = {id: _read_node(id, node.get("message"), skipped) for id, node in nodes.items()}
    id = _text_of(item.get("conversation_id")) or _text_of(item.get("id")) or _digest(item)
    for number, (path, shared) in enumerate(iter_branches(_find_parents(nodes), _text_of(item.get("current_node")))):
        entries = _pair_results([found for node in path if (found := messages[node])])
        same = len(_pair_results([found for node in path[:shared] if (found := messages[node])]))
        if number and same == len(entries):
            continue  # the branch has no messages of its own
        if not number and all(entry.role == "system" for entry in entries):
            entries = []
        yield ImportedConversation(
            SOURCE,
            id if not number else f"{id}/{path[-1]}",
            entries,
            _text_of(item.get("title")),
            _parse_time(item.get("create_time")),
            _parse_time(item.get("update_time")),
            _find_model(item, entries),
            "openai",
            metadata={name: item[name] for name in _METADATA if item.get(name)},
            parent_id=id if number else None,
            shared=same if number else 0,
        )
    yield from skipped.items()


def _text_of(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _digest(item: Mapping[str, Any]) -> str:
    return sha256(dumps(item).encode("utf-8", "surrogatepass")).hexdigest()


def _find_parents(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    """Return node -> its parent, also where nodes have children only."""
    of_children = {
        child: id for id, node in nodes.items() for child in _list_of(node.get("children")) if isinstance(child, str)
    }
    return {id: _text_of(node.get("parent")) or of_children.get(id) for id, node in nodes.items()}


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _find_model(item: Mapping[str, Any], entries: list[ImportedMessage]) -> str | None:
    used = next((entry.model for entry in reversed(entries) if entry.model), None)
    default = _text_of(item.get("default_model_slug"))
    return used or (default if default != "auto" else None)


def _read_node(id: str, message: Any, skipped: SkipCounter) -> ImportedMessage | None:
    """Return the message of a node; an invalid one is counted and costs itself only."""
    if message is None:
        return None
    try:
        return _read_message(id, message, skipped)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        skipped.add_message()
        return None


def _read_message(id: str, message: Mapping[str, Any], skipped: SkipCounter) -> ImportedMessage | None:
    author, metadata = message.get("author") or {}, _dict_of(message.get("metadata"))
    role = author.get("role")
    if role not in _ROLES:
        skipped.add_message()
        return None
    content = _dict_of(message.get("content"))
    hidden = _is_hidden(message, metadata)
    if _is_instructions(content, metadata):
        role, parts = "system", _text_parts(_read_instructions(content, metadata))
        hidden = False
    else:
        parts = tuple(_read_parts(id, message, content, role, skipped))
    if not parts:
        return None
    return ImportedMessage(
        role if not hidden or role == "tool" else "system",  # type: ignore[arg-type]
        parts,
        _text_of(message.get("id")) or id,
        _parse_time(message.get("create_time")),
        _text_of(metadata.get("model_slug")) if role == "assistant" else None,
        "openai" if role == "assistant" else None,
        complete=message.get("status") != "in_progress",
        metadata={"source_role": role} if hidden and role != "tool" else {},
        hidden=hidden,
    )


def _is_hidden(message: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    content_type = _dict_of(message.get("content")).get("content_type")
    return bool(
        metadata.get("is_visually_hidden_from_conversation") or message.get("weight") == 0 or content_type == _MEMORY
    )


def _is_instructions(content: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    return content.get("content_type") == _INSTRUCTIONS or bool(metadata.get("is_user_system_message"))


def _read_instructions(content: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Return the custom instructions: of the content, or in the metadata as in exports of 2023."""
    about = _dict_of(metadata.get("user_context_message_data"))
    found = (content.get("user_profile"), content.get("user_instructions"))
    if not any(found):
        found = (about.get("about_user_message"), about.get("about_model_message"))
    if not any(found):
        found = (_read_text(content), None)
    return "\n\n".join(text for text in found if isinstance(text, str) and text)


def _text_parts(text: str) -> tuple[Part, ...]:
    return (Text(text),) if text else ()


def _read_parts(
    id: str, message: Mapping[str, Any], content: Mapping[str, Any], role: str, skipped: SkipCounter
) -> Iterator[Part]:
    pieces = list(_read_content(message, content, skipped))
    text = "\n".join(piece.text for piece in pieces if isinstance(piece, Text))
    files = [piece for piece in pieces if isinstance(piece, File)]
    recipient = _text_of(message.get("recipient")) or "all"
    if role == "assistant" and recipient != "all":
        yield ToolCall(_text_of(message.get("id")) or id, recipient, _to_arguments(content, text))
    elif role == "tool":
        name = _text_of(_dict_of(message.get("author")).get("name")) or "tool"
        if text or files:
            yield ToolResult("", name, text)
        yield from files
    elif role == "assistant" and content.get("content_type") in ("thoughts", "reasoning_recap"):
        yield from (Thinking(piece.text) for piece in pieces if isinstance(piece, Text))
    else:
        yield from pieces


def _to_arguments(content: Mapping[str, Any], text: str) -> str:
    """Return the arguments of a call as a JSON object; code and other text become its only member."""
    if text.lstrip().startswith("{"):
        return text
    return dumps({"code" if content.get("content_type") == "code" else "input": text})


def _read_content(message: Mapping[str, Any], content: Mapping[str, Any], skipped: SkipCounter) -> Iterator[Part]:
    metadata = _dict_of(message.get("metadata"))
    found: list[Part] = []
    if content.get("content_type") in ("text", "multimodal_text"):
        for piece in _list_of(content.get("parts")):
            found += _read_piece(piece, metadata, skipped)
    else:
        text = _read_text(content)
        if text:
            found.append(Text(resolve_citations(text, metadata)))
        elif content and not any(name in content for name in _TEXT_KEYS):
            skipped.add_block(content.get("content_type"))
    mentioned = {file.metadata[FILE_REFERENCE_KEY] for file in found if isinstance(file, File)}
    yield from found
    yield from _read_attachments(metadata, mentioned)


def _read_text(content: Mapping[str, Any]) -> str:
    """Return the text of a content without parts."""
    thoughts = [one for one in _list_of(content.get("thoughts")) if isinstance(one, dict)]
    if thoughts:
        return "\n\n".join(str(one.get("content") or one.get("summary") or "") for one in thoughts)
    parts = [piece for piece in _list_of(content.get("parts")) if isinstance(piece, str)]
    return next((text for name in _TEXT_KEYS if (text := _text_of(content.get(name)))), "\n".join(filter(None, parts)))


def _read_piece(piece: Any, metadata: Mapping[str, Any], skipped: SkipCounter) -> Iterator[Part]:
    if isinstance(piece, str):
        if resolved := resolve_citations(piece, metadata):
            yield Text(resolved)
        return
    if not isinstance(piece, dict):
        if piece is not None:
            skipped.add_block(type(piece).__name__)
        return
    text = _text_of(piece.get("text"))
    if text:
        yield Text(text)
    pointers = [file for one in (piece, *piece.values()) if (file := _read_pointer(one))]
    yield from pointers
    if not text and not pointers:
        skipped.add_block(piece.get("content_type"))


def _read_pointer(piece: Any) -> File | None:
    pointer = _text_of(piece.get("asset_pointer")) if isinstance(piece, dict) else None
    if pointer is None:
        return None
    kind = str(piece.get("content_type") or "")
    media_type = "image/*" if kind.startswith("image") else "audio/*" if "audio" in kind else None
    return refer_to_file(pointer, media_type)


def _read_attachments(metadata: Mapping[str, Any], mentioned: set[str]) -> Iterator[File]:
    """Yield the uploaded files that the content itself does not mention."""
    for one in _list_of(metadata.get("attachments")):
        id = _text_of(one.get("id")) if isinstance(one, dict) else None
        if id and not any(id in pointer for pointer in mentioned):
            yield refer_to_file(
                id, _text_of(one.get("mimeType")) or _text_of(one.get("mime_type")), _text_of(one.get("name"))
            )


def _pair_results(entries: list[ImportedMessage]) -> list[ImportedMessage]:
    """Give results the id of their call, and put them right after it.

    Results that follow each other and answer one call become one. A hidden result is one only where no visible one
    answers the call.
    """
    calls, found = OpenCalls(), list[ImportedMessage]()
    for index, entry in enumerate(entries):
        for part in entry.parts:
            if isinstance(part, ToolCall):
                calls.add(part.id, part.name, part.id)
        if not isinstance(entry.parts[0], ToolResult) or (entry.hidden and _has_visible_result(entries, index)):
            found.append(entry)
            continue
        call_id = calls.answer(None, entry.parts[0].name)
        if entry.hidden and not call_id:
            found.append(entry)
        else:
            _add_result(found, replace(entry, hidden=False), call_id)
    return found


def _has_visible_result(entries: list[ImportedMessage], index: int) -> bool:
    """Return whether a visible result stands beside a hidden one."""
    for step in (-1, 1):
        at = index + step
        while 0 <= at < len(entries) and entries[at].role == "tool":
            if not entries[at].hidden:
                return True
            at += step
    return False


def _add_result(found: list[ImportedMessage], entry: ImportedMessage, call_id: str) -> None:
    result, *files = entry.parts
    assert isinstance(result, ToolResult)
    before = found[-1] if found else None
    if not call_id and before and not before.hidden and isinstance(before.parts[0], ToolResult):
        first = before.parts[0]
        text = "\n".join(filter(None, (first.content, result.content)))
        found[-1] = replace(before, parts=(first.replace(content=text), *before.parts[1:], *files))
        return
    place = _place_after_call(found, call_id)
    found.insert(place, replace(entry, parts=(result.replace(call_id=call_id), *files)))


def _place_after_call(found: list[ImportedMessage], call_id: str) -> int:
    """Return the place after the message that has the call; the end if there is none."""
    for place in range(len(found), 0, -1):
        if any(isinstance(part, ToolCall) and part.id == call_id for part in found[place - 1].parts):
            return place
    return len(found)


def _parse_time(seconds: Any) -> str | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < _MAX_TIME * 1000:
        return None
    return clock.from_unix(seconds if seconds < _MAX_TIME else seconds / 1000)


FORMAT = Format(is_conversation, read_conversation)


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
