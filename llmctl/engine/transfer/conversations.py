"""Convert conversations of other programs to rows. Ids are derived from content, so importing twice adds nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import HIDDEN_KEY, File, Message, Text, Thinking, ToolCall, ToolResult, parts_to_json
from llmctl.core.environment import find_repository
from llmctl.core.imported_conversation import ImportedConversation, ImportedMessage
from llmctl.core.stored_values import dumps
from llmctl.core.transfer_records import ImportRow

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TYPES = {"assistant": "chatModel", "tool": "toolCall"}
_IMPORTED = {"origin": "import"}


def build_records(history: ImportedConversation, default_time: str) -> Iterator[ImportRow]:
    """Yield the rows of a conversation, each after the rows it refers to; ``default_time`` replaces unknown times."""
    chat = _ConversationRows(history, default_time)
    yield ImportRow("chats", chat.chat_row())
    yield ImportRow("message_threads", chat.thread_row())
    for index, entry in enumerate(chat.entries):
        yield from chat.message_rows(index, entry)
    for index, entry in enumerate(chat.entries):
        yield from chat.request_rows(index, entry)


class _ConversationRows:
    """Builds the rows of one conversation, with their ids and times."""

    def __init__(self, history: ImportedConversation, default_time: str) -> None:
        self.history = history
        self.entries = [entry for entry in history.entries if entry.parts]
        self.id = self._chat_id(history.id)
        self.thread_id = derive_id(history.source, "thread", history.id)
        self._times = _ascending_times([entry.at for entry in self.entries], history.created_at or default_time)
        self.created_at = history.created_at or (self._times[0] if self._times else default_time)
        self.updated_at = max(history.updated_at or "", self._times[-1] if self._times else "", self.created_at)
        self._is_timed = bool(history.created_at or history.updated_at or any(entry.at for entry in self.entries))
        self._results = {
            part.call_id: part for entry in self.entries for part in entry.parts if isinstance(part, ToolResult)
        }

    def chat_row(self) -> dict[str, Any]:
        system = next((_text(entry) for entry in self.entries if entry.role == "system" and not entry.hidden), None)
        source = {"imported_from": self.history.source, "imported_id": self.history.id}
        return {
            "id": self.id,
            "name": " ".join(self.history.name.split())[:200] or None if self.history.name else None,
            "type": "chatModel",
            "model": self.history.model,
            "instructions": system,
            "metadata": dumps({**self.history.metadata, **source}),
            "settings": dumps({"options": dict(self.history.options)} if self.history.options else {}),
            "last_turn_at": self._times[-1] if self._times else self.created_at,
            **self._import_columns(self.created_at, self.updated_at),
        }

    def thread_row(self) -> dict[str, Any]:
        history = self.history
        parent = derive_id(history.source, "thread", history.parent_id) if history.parent_id else None
        return {
            "id": self.thread_id,
            "chat_id": self.id,
            "parent_id": parent,
            "parent_seq": history.shared if parent else None,
            **self._time_columns(self.created_at),
        }

    def message_rows(self, index: int, entry: ImportedMessage) -> Iterator[ImportRow]:
        """Yield the rows of a message, its files and its tool calls."""
        id, at = self._message_id(entry), self._times[index]
        usage = entry.usage
        yield ImportRow(
            "messages",
            {
                "id": id,
                "thread_id": self.thread_id,
                "seq": index + 1,
                "chat_id": self.id if self._is_visible(index) else None,
                "role": entry.role,
                "type": _TYPES.get(entry.role, entry.role),
                "status": "completed" if entry.complete else "incomplete",
                "content": Message(entry.role, entry.parts).stored_text if entry.role == "tool" else _text(entry),
                "content_raw": _content_raw(entry),
                "thinking_text": "\n".join(p.text for p in entry.parts if isinstance(p, Thinking)) or None,
                "model_id": entry.model,
                "provider": entry.provider,
                "input_tokens": usage.input_tokens if usage else None,
                "output_tokens": usage.output_tokens if usage else None,
                "thinking_tokens": usage.thinking_tokens if usage else None,
                "metadata": _message_metadata(entry),
                **self._import_columns(at),
            },
        )
        files = (part for part in entry.parts if isinstance(part, File))
        for position, file in enumerate(files):
            yield from self._file_rows(id, position, file, at)
        calls = [part for part in entry.parts if isinstance(part, ToolCall)]
        for number, call in enumerate(calls):
            yield self._invocation_row(id, number, call, calls[:number], at, self._find_result(call, index))

    def request_rows(self, index: int, entry: ImportedMessage) -> Iterator[ImportRow]:
        """Yield a row of ``requests`` if the source has usage of the answer."""
        usage = entry.usage
        if usage is None:
            return
        yield ImportRow(
            "requests",
            {
                "id": derive_request_id(self.history, entry),
                "chat_id": self.id,
                "thread_id": self.thread_id,
                "message_id": self._message_id(entry),
                "provider": entry.provider or self.history.provider or self.history.source,
                "model": entry.model or self.history.model or "unknown",
                "response_model": usage.response_model,
                "status": "completed",
                "duration": usage.duration_ms,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cached_tokens": usage.cached_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "thinking_tokens": usage.thinking_tokens,
                "usage_details": dumps(dict(usage.details)) if usage.details else None,
                "response_id": usage.response_id,
                "cost": usage.cost,
                **self._program_columns(),
                "parameters": dumps(dict(usage.parameters)) if usage.parameters else None,
                **self._import_columns(self._times[index]),
            },
        )

    def _program_columns(self) -> dict[str, Any]:
        """Return what requests tell of the program that sent them, where the source is a transcript of one."""
        history = self.history
        if history.app is None:
            return {}
        project = find_repository(history.folder) or history.folder
        columns = {"app": history.app, "client": history.client, "session_key": history.session_key}
        return columns | {"folder": history.folder, "project": project}

    def _is_visible(self, index: int) -> bool:
        """Return whether the message is shown in the chat: not intermediate steps, nor tool results."""
        entry = self.entries[index]
        if entry.hidden:
            return False
        if entry.role != "assistant":
            return entry.role != "tool"
        after = next((later.role for later in self.entries[index + 1 :] if not later.hidden), "user")
        return after not in ("assistant", "tool")

    def _find_result(self, call: ToolCall, index: int) -> ToolResult | None:
        if call.id in self._results:
            return self._results[call.id]
        after = self.entries[index + 1] if index + 1 < len(self.entries) else None
        parts = after.parts if after and after.role == "tool" else ()
        return next((p for p in parts if isinstance(p, ToolResult) and not p.call_id), None)

    def _invocation_row(
        self,
        message_id: str,
        number: int,
        call: ToolCall,
        before: Sequence[ToolCall],
        at: str,
        result: ToolResult | None,
    ) -> ImportRow:
        repeated = sum(1 for other in before if other.id == call.id)
        status = "cancelled" if result is None else "failed" if result.is_error else "completed"
        row = {
            "id": derive_id(self.history.source, "invocation", f"{message_id}/{number}"),
            "message_id": message_id,
            "tool_call_id": f"{call.id}#{repeated + 1}" if repeated else call.id,
            "provider_call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "result": result.content if result else None,
            "status": status,
        }
        return ImportRow("tool_invocations", row | self._import_columns(at))

    def _file_rows(self, message_id: str, position: int, file: File, at: str) -> Iterator[ImportRow]:
        content = file.data if file.data is not None else (file.url or file.name or "").encode()
        digest = sha256(content).hexdigest()
        id = derive_id("content", "attachment", digest)
        times = self._time_columns(at)
        row = {"id": id, "name": file.name, "media_type": file.media_type, "content_hash": digest, "url": file.url}
        yield ImportRow("attachments", row | {"content": file.data, "size": len(file.data or b"")} | times)
        link = {"id": derive_id("content", "link", f"{message_id}/{position}"), "message_id": message_id}
        columns = {"attachment_id": id, "position": position, "name": file.name, "media_type": file.media_type}
        yield ImportRow("message_attachments", link | columns | times)

    def _message_id(self, entry: ImportedMessage) -> str:
        """Return the source's id if it is a UUID; messages of a fork are copies and get derived ids."""
        if self.history.parent_id is None and _UUID.fullmatch(entry.id):
            return entry.id
        return derive_id(self.history.source, "message", f"{self.history.id}/{entry.id}")

    def _chat_id(self, id: str) -> str:
        return id if _UUID.fullmatch(id) else derive_id(self.history.source, "chat", id)

    def _import_columns(self, created_at: str, updated_at: str | None = None) -> dict[str, Any]:
        return _IMPORTED | self._time_columns(created_at, updated_at)

    def _time_columns(self, created_at: str, updated_at: str | None = None) -> dict[str, Any]:
        """Return both times; without known times ``updated_at`` is left out, so that the row never counts as newer."""
        return {"created_at": created_at} | ({"updated_at": updated_at or created_at} if self._is_timed else {})


def derive_request_id(history: ImportedConversation, entry: ImportedMessage) -> str:
    """Return the id of the request that an answer gets."""
    return derive_id(history.source, "request", f"{history.id}/{entry.id}")


def derive_id(source: str, kind: str, id: str) -> str:
    """Return a deterministic id in UUID form (RFC 9562, version 8)."""
    raw = bytearray(sha256(f"{source}\0{kind}\0{id}".encode("utf-8", "surrogatepass")).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _ascending_times(times: Sequence[str | None], first: str) -> list[str]:
    """Return a strictly ascending time for each entry: other programs order messages by time alone."""
    found: list[str] = []
    for time in times:
        at = time or (found[-1] if found else first)
        found.append(clock.add_seconds(found[-1], 0.001) if found and at <= found[-1] else at)
    return found


def _text(entry: ImportedMessage) -> str:
    return "\n".join(part.text for part in entry.parts if isinstance(part, Text))


def _message_metadata(entry: ImportedMessage) -> str | None:
    metadata = {**entry.metadata, **({HIDDEN_KEY: True} if entry.hidden else {})}
    return dumps(metadata) if metadata else None


def _content_raw(entry: ImportedMessage) -> str | None:
    """Return the parts as JSON if the text alone does not represent them."""
    parts = parts_to_json(entry.parts)
    plain = all(part["type"] == "text" for part in parts)
    return None if plain and len(parts) <= 1 else dumps(_to_plain_dicts(parts))


def _to_plain_dicts(parts: Any) -> Any:
    """Return JSON with plain dicts instead of other mappings."""
    return [{name: dict(v) if isinstance(v, Mapping) else v for name, v in part.items()} for part in parts]
