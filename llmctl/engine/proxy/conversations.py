"""Find the thread that a request continues: programs send the whole conversation each time, and name it or not.

A hash stands for the conversation up to a message. It leaves out what programs and providers change between two
requests of one conversation: system prompts, reminders to the model, ids, signatures, thinking and cache marks.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from llmctl.core.chat import File, Message, Text, ToolCall, ToolResult
from llmctl.core.stored_values import dumps, new_id
from llmctl.core.values import Value
from llmctl.store.database import Database
from llmctl.store.records import proxied

#: What agents add to messages for one request, and leave out or change in the next.
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)

_BILLING_LINE = re.compile(r"^x-anthropic-billing-header:.*\n?", re.MULTILINE)

#: Conversations whose last request may not be in the hub yet.
_MAX_RECENT = 5_000

#: Where programs name their conversation, the most specific first.
_SESSION_HEADERS = (
    *("x-llmctl-chat", "x-claude-code-session-id", "session-id", "session_id", "thread-id", "x-session-id"),
    *("x-session-affinity", "x-litellm-session-id", "helicone-session-id"),
)
_SESSION_FIELDS = ("prompt_cache_key", "previous_response_id")


class ThreadPlace(Value):
    """A message of a thread, by its place."""

    chat_id: str
    thread_id: str
    seq: int
    #: Whether nothing follows it.
    is_last: bool = True


class Continuation(Value):
    """Where the messages of a request belong."""

    chat_id: str
    thread_id: str
    #: The thread it leaves, and the last message that both share; None: it continues its own.
    parent: ThreadPlace | None
    #: Place of the last message that is there already; 0: none.
    seq: int
    #: Number of messages of the request that are there already.
    known: int
    is_new_chat: bool
    is_new_thread: bool
    #: The conversation up to each message of the request.
    hashes: tuple[str, ...]


def find_session_key(headers: Mapping[str, str], body: Mapping[str, Any]) -> str | None:
    """Return how a program calls the conversation; header names in lower case."""
    for name in _SESSION_HEADERS:
        if value := headers.get(name):
            return value
    if session := _find_in_metadata(body.get("metadata")):
        return session
    return next((str(body[name]) for name in _SESSION_FIELDS if isinstance(body.get(name), str) and body[name]), None)


def _find_in_metadata(metadata: Any) -> str | None:
    """Return the session in the metadata of a request; Claude Code writes a JSON text, or ``…_session_ID``."""
    if not isinstance(metadata, Mapping):
        return None
    if isinstance(session := metadata.get("session_id"), str) and session:
        return session
    user = metadata.get("user_id")
    if not isinstance(user, str):
        return None
    try:
        named = json.loads(user)
    except (ValueError, RecursionError):
        return user.rpartition("_session_")[2] if "_session_" in user else None
    session = named.get("session_id") if isinstance(named, dict) else None
    return session if isinstance(session, str) else None


def without_billing(system: str) -> str:
    """Return a system prompt without the line that names the version of the program, which changes."""
    return _BILLING_LINE.sub("", system).strip()


def hash_conversation(messages: Sequence[Message], before: str = "") -> tuple[str, ...]:
    """Return the hash of the conversation up to each message; ``before`` is that of what precedes the first.

    The messages are those of the user, the assistant and tools.
    """
    hashes = []
    for message in messages:
        before = sha256(f"{before}\n{dumps(_describe(message))}".encode("utf-8", "surrogatepass")).hexdigest()
        hashes.append(before)
    return tuple(hashes)


def _describe(message: Message) -> list[Any]:
    texts = (_REMINDER.sub("", part.text).strip() for part in message.parts if isinstance(part, Text))
    text = "\n".join(filter(None, texts))
    calls = [[call.name, _canonical(call.arguments)] for call in message.parts if isinstance(call, ToolCall)]
    results = [_REMINDER.sub("", part.content).strip() for part in message.parts if isinstance(part, ToolResult)]
    files = [_hash_file(part) for part in message.parts if isinstance(part, File)]
    return [message.role, text, calls, results, files]


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def _hash_file(file: File) -> str:
    return sha256(file.data if file.data is not None else (file.url or "").encode()).hexdigest()


class ConversationIndex:
    """Finds conversations in the hub, and those of the last moments that are not there yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._places: OrderedDict[str, ThreadPlace] = OrderedDict()
        self._sessions: OrderedDict[str, str] = OrderedDict()
        #: The last place of each thread.
        self._ends: OrderedDict[str, int] = OrderedDict()

    def find(self, messages: Sequence[Message], session_key: str | None, app: str) -> Continuation:
        """Return where a request belongs.

        In a named conversation: the thread with the longest common beginning; a thread of its own where not even the
        first messages are common. Without a name a conversation continues where the request holds an answer of it:
        the same question twice is two conversations.
        """
        hashes = hash_conversation(messages)
        chat_id = self._find_session(session_key, app) if session_key else None
        place, known = self._find_longest(messages, hashes, chat_id, is_named=session_key is not None)
        if place is None:
            thread_id = new_id()
            is_new = chat_id is None
            return Continuation(chat_id or new_id(), thread_id, None, 0, 0, is_new, True, hashes)
        if place.is_last:
            return Continuation(place.chat_id, place.thread_id, None, place.seq, known, False, False, hashes)
        return Continuation(place.chat_id, new_id(), place, 0, 0, False, True, hashes)

    def _find_session(self, session_key: str, app: str) -> str | None:
        return self._sessions.get(f"{app}\0{session_key}") or proxied.find_chat_of_session(
            self._database, session_key, app
        )

    def _find_longest(
        self, messages: Sequence[Message], hashes: Sequence[str], chat_id: str | None, *, is_named: bool
    ) -> tuple[ThreadPlace | None, int]:
        if is_named and chat_id is None:
            return None, 0
        answers = [number for number, message in enumerate(messages) if message.role == "assistant"]
        least = 0 if is_named else (answers[0] if answers else len(messages))
        wanted = [(number, hashes[number]) for number in range(len(hashes) - 1, least - 1, -1)]
        stored = self._find_stored([value for _, value in wanted], chat_id)
        for number, value in wanted:
            place = self._places.get(value) or stored.get(value)
            if place and (chat_id is None or place.chat_id == chat_id):
                end = self._ends.get(place.thread_id)
                is_last = place.is_last if end is None else place.seq == end
                return place.replace(is_last=is_last), number + 1
        return None, 0

    def _find_stored(self, hashes: Sequence[str], chat_id: str | None) -> dict[str, ThreadPlace]:
        return {
            row.prefix_hash: ThreadPlace(row.chat_id, row.thread_id, row.seq, row.is_last)
            for row in proxied.find_by_prefix(self._database, hashes, chat_id)
        }

    def add(
        self, found: Continuation, session_key: str | None, app: str, last_seq: int, answer_hash: str | None
    ) -> None:
        """Remember a conversation whose rows are on their way to the hub; its last message is at ``last_seq``."""
        if session_key:
            _remember(self._sessions, f"{app}\0{session_key}", found.chat_id)
        first = last_seq - (len(found.hashes) - found.known) - (answer_hash is not None) + 1
        for place, value in enumerate((*found.hashes[found.known :], *((answer_hash,) if answer_hash else ())), first):
            _remember(self._places, value, ThreadPlace(found.chat_id, found.thread_id, place))
        _remember(self._ends, found.thread_id, last_seq)


def _remember(places: OrderedDict[str, Any], key: str, value: Any) -> None:
    places[key] = value
    places.move_to_end(key)
    if len(places) > _MAX_RECENT:
        places.popitem(last=False)
