"""From the rows of a thread to the messages a model is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from llmctl.core.errors import RejectedError
from llmctl.core.messages import File, Message, Part, Role, Text, Thinking, ToolCall, ToolResult, from_json
from llmctl.core.stored_json import loads
from llmctl.store.database import Database, Row
from llmctl.store.records import threads

#: Key of a message's metadata: words of ours, about an answer that is sent back; the number says how often that was.
CORRECTION = "correction"


@dataclass(frozen=True, slots=True)
class Entry:
    """A message and its place in the thread."""

    seq: int
    message: Message


def load(
    database: Database, thread_id: str, *, upto_seq: int | None = None, provider: str | None = None
) -> list[Entry]:
    """Return what the model has to know, in order: full fidelity, without what is unfinished or unanswered.

    The last system row comes first and alone. A partial answer counts while it is part of the chat. Where the
    ``provider`` is named, answers of others come without what only those can read.
    """
    rows = threads.messages(database, thread_id, upto_seq=upto_seq)
    files = threads.attachments(database, thread_id)
    system = [row for row in [row for row in rows if row["role"] == "system"][-1:] if row["content"]]
    spoken = [row for row in rows if row["role"] != "system" and _counts(row)]
    entries = [Entry(row["seq"], _message(row, files.get(row["id"], ()), provider)) for row in system + spoken]
    return [entry for entry in _paired(_settled(entries)) if entry.message.parts]


def last_turns(entries: Sequence[Entry], turns: int) -> tuple[list[Entry], int]:
    """Drop whole oldest turns; return what is left and how many were dropped. The last turn is the present one."""
    starts = [index for index, entry in enumerate(entries) if _begins_turn(entry.message)]
    if turns < 0 or len(starts) <= turns + 1:
        return list(entries), 0
    dropped = len(starts) - turns - 1
    system = [entry for entry in entries if entry.message.role == "system"]
    return system + list(entries[starts[dropped] :]), dropped


def is_correction(message: Message) -> bool:
    """Say whether a message tells the model what is wrong with its answer."""
    return message.role == "user" and CORRECTION in message.metadata


def corrections(messages: Iterable[Message]) -> int:
    """Return how many answers were sent back since the user spoke last."""
    count = 0
    for message in messages:
        if message.role == "user":
            count = count + 1 if is_correction(message) else 0
    return count


def ranges(seqs: Iterable[int]) -> list[list[int]]:
    """Return ``[[first, last], ...]`` of ascending numbers: a compact form of which rows were sent."""
    found: list[list[int]] = []
    for seq in seqs:
        if found and seq == found[-1][1] + 1:
            found[-1][1] = seq
        else:
            found.append([seq, seq])
    return found


def message_of(row: Row, files: Iterable[Row] = ()) -> Message:
    """Return the message in a row of ``messages``, with its attachments."""
    return _message(row, files)


def _counts(row: Row) -> bool:
    if row["status"] == "pending":
        return False
    if row["role"] == "assistant" and row["status"] in ("incomplete", "interrupted"):
        return row["chat_id"] is not None
    return True


def _message(row: Row, files: Iterable[Row], provider: str | None = None) -> Message:
    raw = loads(row["content_raw"]) if row["content_raw"] and row["origin"] != "orm" else None
    parts: tuple[Part, ...] = from_json(raw) if isinstance(raw, list) else _text(row["content"])
    if provider and row["provider"] and row["provider"].lower() != provider.lower():
        parts = tuple(map(_readable, parts))
    role: Role = row["role"] if row["role"] in ("system", "user", "assistant", "tool") else "user"
    return Message(role, (*parts, *map(_file, files)), loads(row["metadata"], {}))


def _readable(part: Part) -> Part:
    """Take the drawer and the signature away: a host refuses what another one encrypted or signed."""
    if isinstance(part, Thinking):
        return replace(part, signature=None, metadata={})
    return replace(part, metadata={}) if isinstance(part, Text | ToolCall) and part.metadata else part


def _begins_turn(message: Message) -> bool:
    return message.role == "user" and not is_correction(message)


def _ends_turn(message: Message) -> bool:
    return message.role == "assistant" and not message.tool_calls


def _settled(entries: Sequence[Entry]) -> list[Entry]:
    """Leave out what was sent back until an answer was left as it is: wrong answers, and what was said about them."""
    corrections = {index for index, entry in enumerate(entries) if is_correction(entry.message)}
    ends = (index for index, entry in enumerate(entries) if index + 1 not in corrections and _ends_turn(entry.message))
    last = max(ends, default=0)
    over = {index for index in corrections if index < last}
    return [entry for index, entry in enumerate(entries) if not {index, index + 1} & over]


def _text(content: str | None) -> tuple[Part, ...]:
    return (Text(content),) if content else ()


def _file(row: Row) -> File:
    return File(row["media_type"], data=row["content"], url=None if row["content"] else row["url"], name=row["name"])


def _paired(entries: Sequence[Entry]) -> list[Entry]:
    """Drop calls without a result and results without a call: providers refuse them.

    A result answers the nearest answer before it: providers use an id again in later turns.
    """
    kept: list[Entry] = []
    for index, entry in enumerate(entries):
        if entry.message.role == "assistant":
            answered = _answered(entries[index + 1 :])
            kept.append(_only(entry, {call.id for call in entry.message.tool_calls} & answered))
        elif entry.message.role == "tool":
            asking = next((before for before in reversed(kept) if before.message.role != "tool"), None)
            kept.append(_only(entry, {call.id for call in asking.message.tool_calls} if asking else set()))
        else:
            kept.append(entry)
    return kept


def _answered(following: Sequence[Entry]) -> set[str]:
    """Return the calls that the results right behind an answer belong to."""
    found: set[str] = set()
    for entry in following:
        if entry.message.role != "tool":
            break
        found |= {part.call_id for part in entry.message.parts if isinstance(part, ToolResult)}
    return found


def _only(entry: Entry, calls: set[str]) -> Entry:
    """Leave out calls and results that are not among these."""

    def keeps(part: Part) -> bool:
        if isinstance(part, ToolCall):
            return part.id in calls
        return not isinstance(part, ToolResult) or part.call_id in calls

    return replace(entry, message=replace(entry.message, parts=tuple(filter(keeps, entry.message.parts))))


def require_prompt(entries: Sequence[Entry]) -> None:
    """Raise where there is nothing to answer."""
    if not entries or entries[-1].message.role not in ("user", "tool"):
        raise RejectedError("nothing to ask: the conversation has no unanswered message")
