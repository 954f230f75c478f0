"""Find the chat that a turn continues, and read the messages of its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast, get_args

from llmctl.core.errors import NotFoundError
from llmctl.core.messages import File, Message, Part, Role, Text, Thinking, ToolCall, from_json
from llmctl.core.stored_json import loads
from llmctl.engine.runtime import CallerInfo
from llmctl.store.database import Database
from llmctl.store.records import chats
from llmctl.store.records.threads import AttachedFile
from llmctl.store.records.types import ChatRow, MessageRow


def get_chat(database: Database, ref: str) -> ChatRow:
    """Return the chat of ``--chat REF``; ``last`` is the newest anywhere. Raises NotFoundError."""
    if ref != "last":
        return chats.get(database, ref)
    chat = chats.find_last(database)
    if chat is None:
        raise NotFoundError("no chats yet", hint='start one with: llmctl chat "..."')
    return chat


def get_last_chat(database: Database, caller: CallerInfo) -> ChatRow:
    """Return the newest chat whose last turn came from the same kind of place: a terminal, or this folder.

    Raises NotFoundError that names the newest chat from elsewhere.
    """
    if caller.terminal:
        chat = chats.find_last_from_terminal(database)
        place = "from a terminal"
    else:
        chat = chats.find_last_from_folder(database, caller.folder)
        place = f"from {_format_folder(caller.folder)}"
    if chat is not None:
        return chat
    newest = chats.find_last_with_model(database)
    raise NotFoundError(f"no chat to continue {place}", hint=_newest_chat_hint(newest))


def message_from_row(row: MessageRow, files: Iterable[AttachedFile] = (), provider: str | None = None) -> Message:
    """Return the message in a row of ``messages``, with its attachments.

    With ``provider``, an answer of another provider loses the data that only that one can read.
    """
    raw = loads(row.content_raw) if row.content_raw and row.origin != "orm" else None
    parts: tuple[Part, ...] = from_json(raw) if isinstance(raw, list) else _text_parts(row.content)
    if provider and row.provider and row.provider.lower() != provider.lower():
        parts = tuple(map(_strip_provider_data, parts))
    role: Role = cast(Role, row.role) if row.role in get_args(Role) else "user"
    return Message(role, (*parts, *map(_message_file, files)), loads(row.metadata, {}))


def _strip_provider_data(part: Part) -> Part:
    """Drop metadata and signature: a host refuses what another one encrypted or signed."""
    if isinstance(part, Thinking):
        return replace(part, signature=None, metadata={})
    return replace(part, metadata={}) if isinstance(part, Text | ToolCall) and part.metadata else part


def _text_parts(content: str | None) -> tuple[Part, ...]:
    return (Text(content),) if content else ()


def _message_file(file: AttachedFile) -> File:
    return File(file.media_type, data=file.content, url=None if file.content else file.url, name=file.name)


def _newest_chat_hint(chat: ChatRow | None) -> str:
    if chat is None:
        return 'start one with: llmctl chat "..."'
    name = chat.name or chat.id[:8]
    place = "a terminal" if chat.last_turn_terminal else _format_folder(chat.last_turn_folder)
    return f"the newest one is from {place}: llmctl chat --chat {name}"


def _format_folder(path: str | None) -> str:
    return f'"{path}"' if path else "a removed folder"
