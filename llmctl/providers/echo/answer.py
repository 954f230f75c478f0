"""Build the answer of the echo provider: a list of deltas, the finish reason and the usage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmctl.providers.echo.options import EchoOptions

EMPTY_PROMPT_REPLY = "The prompt is empty: there is nothing to repeat."

_WORD = re.compile(r"\s*\S+(?:\s+\Z)?")
_STEP = re.compile(r"\n\s*\n")

Delta = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EchoReply:
    """One answer. Each delta is one word; joined, they form the text."""

    id: str
    model: str
    deltas: Sequence[Delta]
    finish_reason: str
    #: None if the user disabled it.
    usage: Mapping[str, Any] | None


def build_reply(body: Mapping[str, Any], options: EchoOptions) -> EchoReply:
    """Return the answer to a request body."""
    messages: list[Mapping[str, Any]] = body["messages"]
    calls = _build_calls(messages, options)
    deltas = _build_deltas(_reply_text(messages, options, calls), options, calls)
    limit = min((n for n in (options.length, options.max_words) if n is not None), default=len(deltas))
    cut_short = options.length is not None or limit < len(deltas)
    deltas = deltas[:limit]
    return EchoReply(
        id=f"chatcmpl-echo-{len(messages)}",
        model=str(body.get("model") or "echo"),
        deltas=deltas,
        finish_reason="length" if cut_short else "tool_calls" if calls else "stop",
        usage=_count_usage(messages, deltas) if options.usage else None,
    )


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, whether its content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text"))


def _reply_text(messages: Sequence[Mapping[str, Any]], options: EchoOptions, calls: Sequence[Delta]) -> str:
    if lines := options.replies.splitlines():
        answers = sum(message.get("role") == "assistant" for message in messages)
        text = lines[min(answers, len(lines) - 1)]
    elif options.reply is not None:
        text = options.reply
    elif calls:
        return ""
    else:
        texts = (message_text(message) for message in reversed(messages) if message.get("role") == "user")
        text = next((found for found in texts if found.strip()), EMPTY_PROMPT_REPLY)
    return " ".join([text] * options.repeat)


def _build_deltas(text: str, options: EchoOptions, calls: Sequence[Delta]) -> list[Delta]:
    deltas = [{"reasoning_content": word} for word in _WORD.findall(options.thinking)]
    deltas += [{"content": word} for word in _WORD.findall(text)]
    for index, call in enumerate(calls):
        name, arguments = call["name"], call["arguments"]
        start = {"index": index, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
        pieces = [{"index": index, "function": {"arguments": word}} for word in _WORD.findall(arguments)]
        deltas += [{"tool_calls": [piece]} for piece in (start, *pieces)]
    return deltas


def _build_calls(messages: Sequence[Mapping[str, Any]], options: EchoOptions) -> list[Delta]:
    """Return the calls of this step, none after the last one. Ids are numbered across steps."""
    last_user = max((place for place, message in enumerate(messages) if message.get("role") == "user"), default=0)
    step = sum(bool(message.get("tool_calls")) for message in messages[last_user:])
    steps = _STEP.split(options.tool.strip())
    if step >= len(steps):
        return []
    earlier = sum(len(message.get("tool_calls") or ()) for message in messages)
    lines = [line.strip() for line in steps[step].splitlines() if line.strip()]
    calls = []
    for number, line in enumerate(lines, start=earlier + 1):
        name, _, arguments = line.partition(" ")
        calls.append({"id": f"call_echo_{number}", "name": name, "arguments": arguments.strip() or "{}"})
    return calls


def _count_usage(messages: Sequence[Mapping[str, Any]], deltas: Sequence[Delta]) -> dict[str, Any]:
    prompt = sum(len(message_text(message).split()) for message in messages)
    thinking = sum("reasoning_content" in delta for delta in deltas)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": len(deltas),
        "total_tokens": prompt + len(deltas),
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }
