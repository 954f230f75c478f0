"""Select what of a conversation is an example to train on: whole turns, as they were sent, that end with an answer.

The rules are those of OpenAI's fine-tuning and of LLaMA-Factory: an example ends with the assistant, every tool call
has its result, and tools are described beside their calls.
https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmctl.core.chat import tag_text_file
from llmctl.core.exported_conversation import ExportedMessage, ExportedToolCall, ExportedToolResult
from llmctl.core.imported_conversation import SkipCounter
from llmctl.core.stored_values import loads
from llmctl.formats.exports import Conversation, tool_results

#: Metadata key of a message that llmctl wrote about an invalid answer.
_CORRECTION = "correction"


class Example(NamedTuple):
    """The messages of an example, and the tools that it calls, as OpenAI describes them."""

    conversation: Conversation
    messages: list[ExportedMessage]
    tools: list[dict[str, Any]]


def list_examples(
    found: Iterable[Conversation], skipped: SkipCounter, *, incomplete: bool = False
) -> Iterator[Example]:
    """Yield the examples of conversations; with ``incomplete`` also turns whose answer broke off."""
    for conversation in found:
        turns = _split_turns(_list_sent(conversation))
        whole = [turn for turn in turns if _is_whole(turn, incomplete)]
        if not whole:
            skipped.add("conversation without a complete answer", "conversations without a complete answer")
            continue
        if len(whole) < len(turns):
            skipped.add("turn without a complete answer", "turns without a complete answer", len(turns) - len(whole))
        messages = _last_system(conversation) + [message for turn in whole for message in turn]
        yield Example(conversation, messages, _describe_tools(conversation, messages))


def _list_sent(conversation: Conversation) -> list[ExportedMessage]:
    """Return the messages without those that are not sent again: invalid answers, unfinished ones, failed prompts."""
    records = [record for record in conversation.messages if record["role"] != "system"]
    corrections = {index for index, record in enumerate(records) if _metadata(record).get(_CORRECTION)}
    shown = Conversation(
        conversation.chat,
        [
            record
            for index, record in enumerate(records)
            if not {index, index + 1} & corrections and not _is_left_behind(record)
        ],
    )
    return [_with_files(message) for message in shown.to_exported().messages]


def _metadata(record: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = record.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _is_left_behind(record: Mapping[str, Any]) -> bool:
    if record["role"] == "user":
        return bool(record.get("error"))
    broke_off = record["status"] not in ("completed", "pending")
    return record["role"] == "assistant" and broke_off and record.get("chat_id") is None


def _with_files(message: ExportedMessage) -> ExportedMessage:
    """Return a message with its text files as they were sent."""
    texts = [tag_text_file(file.name, file.text) for file in message.attachments if file.text is not None]
    if not texts or message.role != "user":
        return message
    return message._replace(content="\n\n".join(filter(None, (message.content, *texts))))


def _last_system(conversation: Conversation) -> list[ExportedMessage]:
    """Return the system prompt: the last one is sent."""
    return [m for m in conversation.to_exported().messages if m.role == "system" and m.content][-1:]


def _split_turns(messages: Iterable[ExportedMessage]) -> list[list[ExportedMessage]]:
    turns: list[list[ExportedMessage]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return [_pair_results(turn) for turn in turns]


def _pair_results(turn: Sequence[ExportedMessage]) -> list[ExportedMessage]:
    """Return a turn without calls that have no result, and results that have no call."""
    called = {call.id for message in turn for call in message.tool_calls}
    answered = {result.call_id for message in turn if message.role == "tool" for result in tool_results(message)}
    paired = []
    for message in turn:
        if message.role == "tool":
            results = [result for result in tool_results(message) if result.call_id in called]
            if results:
                paired.append(with_results(message, results))
        else:
            calls = [call for call in message.tool_calls if call.id in answered]
            if message.content or calls or message.attachments:
                paired.append(message._replace(tool_calls=calls))
    return paired


def with_results(message: ExportedMessage, results: Sequence[ExportedToolResult]) -> ExportedMessage:
    """Return a message of role ``tool`` with these results only."""
    parts = [{"type": "tool_result", "call_id": result.call_id, "content": result.content} for result in results]
    return message._replace(content_raw=parts)


def _is_whole(turn: Sequence[ExportedMessage], incomplete: bool) -> bool:
    last = turn[-1] if turn else None
    if last is None or last.role != "assistant" or last.tool_calls or not last.content or turn[0].role == "tool":
        return False
    if incomplete:
        return last.status != "pending"
    return all(message.status == "completed" for message in turn if message.role == "assistant")


def _describe_tools(conversation: Conversation, messages: Iterable[ExportedMessage]) -> list[dict[str, Any]]:
    """Return the tools that are called; of one that the hub does not know the arguments describe it."""
    calls: dict[str, list[ExportedToolCall]] = {}
    for message in messages:
        for call in message.tool_calls:
            calls.setdefault(call.name, []).append(call)
    known = {tool["name"]: tool for tool in conversation.tools}
    return [_describe_tool(name, known.get(name), calls[name]) for name in calls]


def _describe_tool(name: str, known: Mapping[str, Any] | None, calls: Sequence[ExportedToolCall]) -> dict[str, Any]:
    if known is not None:
        schema = known["schema"]
        parameters = loads(schema, {}) if isinstance(schema, str) else schema
        about = {"description": known["description"]} if known.get("description") else {}
        return {"type": "function", "function": {"name": name, **about, "parameters": parameters}}
    seen = [call.arguments if isinstance(call.arguments, dict) else {} for call in calls]
    properties: dict[str, Any] = {key: {} for arguments in seen for key in arguments}
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
