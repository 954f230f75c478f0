"""Turn the rows of a thread into the messages to send, in a form that their next reader understands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from llmctl.core.chat import HIDDEN_KEY, Message, Part, Text, Thinking, ToolCall, ToolResult
from llmctl.core.errors import RejectedError
from llmctl.core.stored_values import decode_arguments, dumps, loads
from llmctl.core.values import Value
from llmctl.engine.connections.target import Target
from llmctl.store.database import Database
from llmctl.store.records import chats
from llmctl.store.records.chats import to_message
from llmctl.store.records.types import InvocationRow, MessageRow

#: Metadata key of a message that llmctl wrote about an invalid answer; the value is the number of the correction.
CORRECTION_KEY = "correction"
#: Metadata key of an answer with data for its own model only: where that is, as in :class:`Origin`.
ORIGIN_KEY = "origin"


class Origin(Value):
    """Where an answer comes from, or a request goes to. None is unknown."""

    provider: str
    model: str
    base_url: str | None = None
    connection_id: str | None = None

    @classmethod
    def from_target(cls, target: Target) -> Origin:
        return cls(target.provider.name, target.model, target.base_url.partition("?")[0], target.connection_id)

    def to_metadata(self) -> dict[str, Any]:
        """Return what an answer with signatures or encrypted parts stores: nobody else can read those."""
        return {ORIGIN_KEY: {"model": self.model, "base_url": self.base_url}}

    def wrote(self, row: MessageRow, metadata: Mapping[str, Any]) -> bool:
        """Return whether an answer comes from here, so that its signatures are valid here.

        Answers of older versions have no stored origin: then the row's columns decide.
        """
        if row.provider and row.provider.lower() != self.provider.lower():
            return False
        origin = metadata.get(ORIGIN_KEY)
        if isinstance(origin, Mapping):
            same_host = self.base_url is None or origin.get("base_url") == self.base_url
            return same_host and origin.get("model") == self.model
        if row.type == "chatModel" and None not in (row.source_id, self.connection_id):
            return row.source_id == self.connection_id and _is_same_model(row.model_id, self.model)
        return _is_same_model(row.model_id, self.model)


def _is_same_model(answered: str | None, requested: str) -> bool:
    """Return whether a model that answered may be the requested one: answers name it with its date."""
    return not answered or answered.startswith(requested) or requested.startswith(answered)


#: Place of a system prompt that only the chat's row has.
INSTRUCTIONS_SEQ = 0


class HistoryEntry(Value):
    """A message and its place in the thread. Several messages of one row share its place."""

    seq: int
    message: Message


def load_history(
    database: Database,
    thread_id: str,
    *,
    upto_seq: int | None = None,
    reader: Origin | None = None,
    is_followed: bool = False,
) -> list[HistoryEntry]:
    """Return the messages of a thread in order, without pending answers and unanswered calls.

    Only the last system message is sent, and first; without one, the instructions of the chat, which another program
    may have written. A partial answer counts while it is part of the chat. Answers that ``reader`` did not write lose
    what only their own model can read. A prompt whose turn ended without an answer is left out once another follows;
    ``is_followed`` says that one does which is not in the thread.
    """
    rows = [row for row in chats.list_thread_messages(database, thread_id, upto_seq=upto_seq) if not _is_hidden(row)]
    files = chats.attachments_by_message(database, thread_id)
    calls = _load_foreign_calls(database, thread_id, rows)
    entries: list[HistoryEntry] = []
    others = [row for row in rows if row.role != "system" and _is_in_history(row)]
    for row in _drop_failed_prompts(others, is_followed):
        message = to_message(row, files.get(row.id, ()))
        if not message.tool_calls:
            entries += [HistoryEntry(row.seq or 0, message) for message in _replay_calls(calls.get(row.id, ()))]
        if row.role == "assistant":
            message = _adapt_answer(row, message, reader)
        entries.append(HistoryEntry(row.seq or 0, message))
    system = _find_system_prompt(database, thread_id, rows)
    return [
        entry for entry in (*system, *_pair_calls_with_results(_drop_corrected_answers(entries))) if entry.message.parts
    ]


def _find_system_prompt(database: Database, thread_id: str, rows: Sequence[MessageRow]) -> list[HistoryEntry]:
    last = next((row for row in reversed(rows) if row.role == "system"), None)
    if last is not None:
        return [HistoryEntry(last.seq or 0, to_message(last))] if last.content else []
    instructions = chats.find_instructions(database, thread_id)
    return [HistoryEntry(INSTRUCTIONS_SEQ, Message.from_text("system", instructions))] if instructions else []


def _load_foreign_calls(
    database: Database, thread_id: str, rows: Iterable[MessageRow]
) -> Mapping[str, Sequence[InvocationRow]]:
    """Return message id -> the calls that led to it, for programs that store them beside the message only."""
    if all(row.origin == "llmctl" for row in rows if row.role == "assistant"):
        return {}
    from llmctl.store.records import invocations  # rare

    return invocations.list_by_message(database, thread_id)


def _replay_calls(rows: Iterable[InvocationRow]) -> Iterator[Message]:
    """Yield each call and its result: which of them were made at the same time is not stored."""
    for row in rows:
        arguments = decode_arguments(row.arguments)
        text = arguments if isinstance(arguments, str) else dumps(arguments)
        result = row.error or "no result was stored" if row.result is None else row.result
        yield Message("assistant", (ToolCall(row.tool_call_id, row.name, text),))
        yield Message("tool", (ToolResult(row.tool_call_id, row.name, result, is_error=row.status == "failed"),))


def _adapt_answer(row: MessageRow, message: Message, reader: Origin | None) -> Message:
    """Return an answer without thinking written into its text, and without what only its own model can read."""
    if reader is not None and not reader.wrote(row, message.metadata):
        message = Message(message.role, tuple(map(_strip_model_data, message.parts)))
    return without_written_thinking(message)


def _strip_model_data(part: Part) -> Part:
    """Drop metadata and signature: a host refuses what another one encrypted or signed."""
    if isinstance(part, Thinking):
        return part.replace(signature=None, metadata={})
    return part.replace(metadata={}) if isinstance(part, Text | ToolCall) and part.metadata else part


def without_written_thinking(message: Message) -> Message:
    """Return an answer without the thinking between tags in its text: no model wants that back."""
    if not any(isinstance(part, Text) and _may_have_thinking(part.text) for part in message.parts):
        return message
    from llmctl.core.answer_text import strip_thinking  # rare

    parts = (part.replace(text=strip_thinking(part.text)) if isinstance(part, Text) else part for part in message.parts)
    return message.replace(parts=tuple(part for part in parts if not isinstance(part, Text) or part.text))


def _may_have_thinking(text: str) -> bool:
    return "<" in text or "THINK" in text or "think▷" in text


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
        if ranges and seq == ranges[-1][1]:
            continue
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


def _drop_failed_prompts(rows: Sequence[MessageRow], is_followed: bool) -> list[MessageRow]:
    """Leave out prompts whose turn ended without an answer: what follows them is a prompt of another turn.

    A message without a job was not sent by a turn of llmctl: it was added, imported, or written by another program.
    """
    kept: list[MessageRow] = []
    following: MessageRow | None = None
    is_dropped = is_followed
    for row in reversed(rows):
        if following is not None and following.role == "user" and following.job_id != row.job_id:
            is_dropped = True
        elif following is not None and following.role != "user":
            is_dropped = False
        is_dropped = is_dropped and row.role == "user" and row.job_id is not None
        if not is_dropped:
            kept.append(row)
        following = row
    return kept[::-1]


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
    """Drop calls without a result and results without a call: providers refuse them. Results have the order of calls.

    A result answers the nearest answer before it: providers use an id again in later turns.
    """
    entries = _order_results(entries)
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


def _order_results(entries: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """Return the entries with the results of an answer in the order of its calls: some were stored before others."""
    ordered: list[HistoryEntry] = []
    places: dict[str, int] = {}
    for is_result, group in groupby(entries, key=lambda entry: entry.message.role == "tool"):
        found = list(group)
        if is_result:
            found.sort(key=lambda entry: _result_place(entry.message, places))
        else:
            places = {call.id: number for number, call in enumerate(found[-1].message.tool_calls)}
        ordered += found
    return ordered


def _result_place(message: Message, places: Mapping[str, int]) -> int:
    """Return the number of the call that a message answers; results of unknown calls stay behind the others."""
    ids = (part.call_id for part in message.parts if isinstance(part, ToolResult))
    return next((places[id] for id in ids if id in places), len(places))


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
