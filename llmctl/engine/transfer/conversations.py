"""Conversations of other programs become rows. The same conversation gives the same ids, however often it is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from llmctl.core import clock
from llmctl.core.imported_conversation import Entry, History
from llmctl.core.messages import File, Message, Text, Thinking, ToolCall, ToolResult, to_json
from llmctl.core.stored_json import dumps
from llmctl.core.transfer_records import Record

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TYPES = {"assistant": "chatModel", "tool": "toolCall"}
_IMPORTED = {"origin": "import"}


def records(history: History, otherwise: str) -> Iterator[Record]:
    """Yield the rows of a conversation, each after those it refers to. ``otherwise`` stands for times unknown."""
    chat = _Chat(history, otherwise)
    yield Record("chats", chat.row())
    yield Record("message_threads", chat.thread())
    for place, entry in enumerate(chat.entries):
        yield from chat.message(place, entry)
    for place, entry in enumerate(chat.entries):
        yield from chat.request(place, entry)


class _Chat:
    """One conversation with the ids and times of its rows."""

    def __init__(self, history: History, otherwise: str) -> None:
        self.history = history
        self.entries = [entry for entry in history.entries if entry.parts]
        self.id = self._derived("chat", history.id)
        self.thread_id = derived(history.source, "thread", history.id)
        self._times = _rising([entry.at for entry in self.entries], history.created_at or otherwise)
        self.created_at = history.created_at or (self._times[0] if self._times else otherwise)
        self.updated_at = max(history.updated_at or "", self._times[-1] if self._times else "", self.created_at)
        self._is_timed = bool(history.created_at or history.updated_at or any(entry.at for entry in self.entries))
        self._results = {
            part.call_id: part for entry in self.entries for part in entry.parts if isinstance(part, ToolResult)
        }

    def row(self) -> dict[str, Any]:
        system = next((_text(entry) for entry in self.entries if entry.role == "system"), None)
        source = {"imported_from": self.history.source, "imported_id": self.history.id}
        return {
            "id": self.id,
            "name": " ".join(self.history.name.split())[:200] or None if self.history.name else None,
            "type": "chatModel",
            "model": self.history.model,
            "instructions": system,
            "metadata": dumps({**self.history.metadata, **source}),
            "last_turn_at": self._times[-1] if self._times else self.created_at,
            **self._stamp(self.created_at, self.updated_at),
        }

    def thread(self) -> dict[str, Any]:
        history = self.history
        parent = derived(history.source, "thread", history.parent_id) if history.parent_id else None
        return {
            "id": self.thread_id,
            "chat_id": self.id,
            "parent_id": parent,
            "parent_seq": history.shared if parent else None,
            **self._times_of(self.created_at),
        }

    def message(self, place: int, entry: Entry) -> Iterator[Record]:
        """Yield the message, its files and the runs of tools it asks for."""
        id, at = self._message_id(entry), self._times[place]
        usage = entry.usage
        yield Record(
            "messages",
            {
                "id": id,
                "thread_id": self.thread_id,
                "seq": place + 1,
                "chat_id": self.id if self._is_seen(place) else None,
                "role": entry.role,
                "type": _TYPES.get(entry.role, entry.role),
                "status": "completed" if entry.complete else "incomplete",
                "content": Message(entry.role, entry.parts).said if entry.role == "tool" else _text(entry),
                "content_raw": _raw(entry),
                "thinking_text": "\n".join(p.text for p in entry.parts if isinstance(p, Thinking)) or None,
                "model_id": entry.model,
                "provider": entry.provider,
                "input_tokens": usage.input_tokens if usage else None,
                "output_tokens": usage.output_tokens if usage else None,
                "thinking_tokens": usage.thinking_tokens if usage else None,
                "metadata": dumps(dict(entry.metadata)) if entry.metadata else None,
                **self._stamp(at),
            },
        )
        files = (part for part in entry.parts if isinstance(part, File))
        for position, file in enumerate(files):
            yield from self._file(id, position, file, at)
        calls = [part for part in entry.parts if isinstance(part, ToolCall)]
        for number, call in enumerate(calls):
            yield self._invocation(id, number, call, calls[:number], at, self._result(call, place))

    def request(self, place: int, entry: Entry) -> Iterator[Record]:
        """Yield the ledger's row, where the source knows what the answer took."""
        usage = entry.usage
        if usage is None:
            return
        yield Record(
            "requests",
            {
                "id": derived(self.history.source, "request", f"{self.history.id}/{entry.id}"),
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
                "thinking_tokens": usage.thinking_tokens,
                "cost": usage.cost,
                **self._stamp(self._times[place]),
            },
        )

    def _is_seen(self, place: int) -> bool:
        """Tell whether people see the message: not steps on the way to an answer, nor what tools gave."""
        entry = self.entries[place]
        if entry.role != "assistant":
            return entry.role != "tool"
        after = self.entries[place + 1].role if place + 1 < len(self.entries) else "user"
        return after not in ("assistant", "tool")

    def _result(self, call: ToolCall, place: int) -> ToolResult | None:
        if call.id in self._results:
            return self._results[call.id]
        after = self.entries[place + 1] if place + 1 < len(self.entries) else None
        parts = after.parts if after and after.role == "tool" else ()
        return next((p for p in parts if isinstance(p, ToolResult) and not p.call_id), None)

    def _invocation(
        self,
        message_id: str,
        number: int,
        call: ToolCall,
        before: Sequence[ToolCall],
        at: str,
        given: ToolResult | None,
    ) -> Record:
        repeated = sum(1 for other in before if other.id == call.id)
        status = "cancelled" if given is None else "failed" if given.is_error else "completed"
        row = {
            "id": derived(self.history.source, "invocation", f"{message_id}/{number}"),
            "message_id": message_id,
            "tool_call_id": f"{call.id}#{repeated + 1}" if repeated else call.id,
            "provider_call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "result": given.content if given else None,
            "status": status,
        }
        return Record("tool_invocations", row | self._stamp(at))

    def _file(self, message_id: str, position: int, file: File, at: str) -> Iterator[Record]:
        content = file.data if file.data is not None else (file.url or file.name or "").encode()
        digest = sha256(content).hexdigest()
        id = derived("content", "attachment", digest)
        times = self._times_of(at)
        row = {"id": id, "name": file.name, "media_type": file.media_type, "content_hash": digest, "url": file.url}
        yield Record("attachments", row | {"content": file.data, "size": len(file.data or b"")} | times)
        link = {"id": derived("content", "link", f"{message_id}/{position}"), "message_id": message_id}
        named = {"attachment_id": id, "position": position, "name": file.name, "media_type": file.media_type}
        yield Record("message_attachments", link | named | times)

    def _message_id(self, entry: Entry) -> str:
        """Return the source's own id; a fork has copies."""
        if self.history.parent_id is None and _UUID.fullmatch(entry.id):
            return entry.id
        return derived(self.history.source, "message", f"{self.history.id}/{entry.id}")

    def _derived(self, kind: str, id: str) -> str:
        return id if _UUID.fullmatch(id) else derived(self.history.source, kind, id)

    def _stamp(self, created_at: str, updated_at: str | None = None) -> dict[str, Any]:
        return _IMPORTED | self._times_of(created_at, updated_at)

    def _times_of(self, created_at: str, updated_at: str | None = None) -> dict[str, Any]:
        """Return both times; where none is known nothing says that this is newer than what is here."""
        return {"created_at": created_at} | ({"updated_at": updated_at or created_at} if self._is_timed else {})


def derived(source: str, kind: str, id: str) -> str:
    """Return an id that is always the same for the same thing, in the form of ours (RFC 9562, version 8)."""
    raw = bytearray(sha256(f"{source}\0{kind}\0{id}".encode("utf-8", "surrogatepass")).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _rising(times: Sequence[str | None], first: str) -> list[str]:
    """Return a time for each entry, each later than the one before: nothing else orders them for other programs."""
    found: list[str] = []
    for time in times:
        at = time or (found[-1] if found else first)
        found.append(clock.later(found[-1], 0.001) if found and at <= found[-1] else at)
    return found


def _text(entry: Entry) -> str:
    return "\n".join(part.text for part in entry.parts if isinstance(part, Text))


def _raw(entry: Entry) -> str | None:
    """Return the parts where the text does not say it all."""
    parts = to_json(entry.parts)
    plain = all(part["type"] == "text" for part in parts)
    return None if plain and len(parts) <= 1 else dumps(_legible(parts))


def _legible(parts: Any) -> Any:
    """Return JSON of maps of ours as plain dicts."""
    return [{name: dict(v) if isinstance(v, Mapping) else v for name, v in part.items()} for part in parts]
