"""Turn the rows of a thread into the messages to send."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmctl.core.chat import HIDDEN_KEY, Message, Part, ToolCall, ToolResult
from llmctl.core.errors import RejectedError
from llmctl.core.stored_values import loads
from llmctl.core.values import Value
from llmctl.store.database import Database
from llmctl.store.records import chats
from llmctl.store.records.chats import to_message
from llmctl.store.records.types import MessageRow

#: Metadata key of a message that llmctl wrote about an invalid answer; the value is the number of the correction.
CORRECTION_KEY = "correction"


class HistoryEntry(Value):
    """A message and its place in the thread."""

    seq: int
    message: Message


def load_history(
    database: Database, thread_id: str, *, upto_seq: int | None = None, provider: str | None = None
) -> list[HistoryEntry]:
    """Return the messages of a thread in order, without pending answers and unanswered calls.

    Only the last system message is sent, and first. A partial answer counts while it is part of the chat. With
    ``provider``, answers of other providers lose the data that only those can read.
    """
    rows = [row for row in chats.list_thread_messages(database, thread_id, upto_seq=upto_seq) if not _is_hidden(row)]
    files = chats.attachments_by_message(database, thread_id)
    system = [row for row in [row for row in rows if row.role == "system"][-1:] if row.content]
    others = [row for row in rows if row.role != "system" and _is_in_history(row)]
    entries = [HistoryEntry(row.seq or 0, to_message(row, files.get(row.id, ()), provider)) for row in system + others]
    return [entry for entry in _pair_calls_with_results(_drop_corrected_answers(entries)) if entry.message.parts]


def last_turns(entries: Sequence[HistoryEntry], turns: int) -> tuple[list[HistoryEntry], int]:
    """Drop the oldest turns; return what is left and how many were dropped. The current turn is not counted."""
    starts = [index for index, entry in enumerate(entries) if _begins_turn(entry.message)]
    if turns < 0 or len(starts) <= turns + 1:
        return list(entries), 0
    dropped = len(starts) - turns - 1
    system = [entry for entry in entries if entry.message.role == "system"]
    return system + list(entries[starts[dropped] :]), dropped


def is_correction(message: Message) -> bool:
    """Return whether a message reports the errors of an answer to the model."""
    return message.role == "user" and CORRECTION_KEY in message.metadata


def count_corrections(messages: Iterable[Message]) -> int:
    """Return how many answers were sent back since the user's last message."""
    count = 0
    for message in messages:
        if message.role == "user":
            count = count + 1 if is_correction(message) else 0
    return count


def to_ranges(seqs: Iterable[int]) -> list[list[int]]:
    """Return ``[[first, last], ...]`` of ascending numbers: a compact form of which rows were sent."""
    ranges: list[list[int]] = []
    for seq in seqs:
        if ranges and seq == ranges[-1][1] + 1:
            ranges[-1][1] = seq
        else:
            ranges.append([seq, seq])
    return ranges


def _is_hidden(row: MessageRow) -> bool:
    return row.metadata is not None and HIDDEN_KEY in row.metadata and bool(loads(row.metadata, {}).get(HIDDEN_KEY))


def _is_in_history(row: MessageRow) -> bool:
    if row.status == "pending":
        return False
    if row.role == "assistant" and row.status in ("incomplete", "interrupted"):
        return row.chat_id is not None
    return True


def _begins_turn(message: Message) -> bool:
    return message.role == "user" and not is_correction(message)


def _ends_turn(message: Message) -> bool:
    return message.role == "assistant" and not message.tool_calls


def _drop_corrected_answers(entries: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """Leave out invalid answers and their corrections, once a later answer was accepted."""
    corrections = {index for index, entry in enumerate(entries) if is_correction(entry.message)}
    ends = (index for index, entry in enumerate(entries) if index + 1 not in corrections and _ends_turn(entry.message))
    last = max(ends, default=0)
    settled = {index for index in corrections if index < last}
    return [entry for index, entry in enumerate(entries) if not {index, index + 1} & settled]


def _pair_calls_with_results(entries: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """Drop calls without a result and results without a call: providers refuse them.

    A result answers the nearest answer before it: providers use an id again in later turns.
    """
    paired: list[HistoryEntry] = []
    for index, entry in enumerate(entries):
        if entry.message.role == "assistant":
            answered = _answered_call_ids(entries[index + 1 :])
            paired.append(_keep_calls(entry, {call.id for call in entry.message.tool_calls} & answered))
        elif entry.message.role == "tool":
            answer = next((earlier for earlier in reversed(paired) if earlier.message.role != "tool"), None)
            paired.append(_keep_calls(entry, {call.id for call in answer.message.tool_calls} if answer else set()))
        else:
            paired.append(entry)
    return paired


def _answered_call_ids(following: Sequence[HistoryEntry]) -> set[str]:
    """Return the ids of the calls that the results right after an answer belong to."""
    found: set[str] = set()
    for entry in following:
        if entry.message.role != "tool":
            break
        found |= {part.call_id for part in entry.message.parts if isinstance(part, ToolResult)}
    return found


def _keep_calls(entry: HistoryEntry, calls: set[str]) -> HistoryEntry:
    """Leave out calls and results with other ids."""

    def keeps(part: Part) -> bool:
        if isinstance(part, ToolCall):
            return part.id in calls
        return not isinstance(part, ToolResult) or part.call_id in calls

    return entry.replace(message=entry.message.replace(parts=tuple(filter(keeps, entry.message.parts))))


def require_prompt(entries: Sequence[HistoryEntry]) -> None:
    """Raise RejectedError where the last message needs no answer."""
    if not entries or entries[-1].message.role not in ("user", "tool"):
        raise RejectedError("nothing to send: the conversation has no unanswered message")
