"""What the echo provider is about to say: the answer as a list of deltas, and the numbers that go with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmctl.providers.echo.options import EchoOptions

NOTHING_SAID = "You have said nothing that I could repeat."

_WORD = re.compile(r"\s*\S+(?:\s+\Z)?")
_STEP = re.compile(r"\n\s*\n")

Delta = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Script:
    """One answer. Each delta is one word; joined, they are the text again."""

    id: str
    model: str
    deltas: Sequence[Delta]
    finish_reason: str
    #: None where the user wants none.
    usage: Mapping[str, Any] | None


def write(body: Mapping[str, Any], options: EchoOptions) -> Script:
    """Work out the answer to a request body."""
    messages: list[Mapping[str, Any]] = body["messages"]
    calls = _calls(messages, options)
    deltas = _deltas(_text(messages, options, calls), options, calls)
    limit = min((n for n in (options.length, options.max_words) if n is not None), default=len(deltas))
    cut_short = options.length is not None or limit < len(deltas)
    deltas = deltas[:limit]
    return Script(
        id=f"chatcmpl-echo-{len(messages)}",
        model=str(body.get("model") or "echo"),
        deltas=deltas,
        finish_reason="length" if cut_short else "tool_calls" if calls else "stop",
        usage=_usage(messages, deltas) if options.usage else None,
    )


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message, whether its content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text"))


def _text(messages: Sequence[Mapping[str, Any]], options: EchoOptions, calls: Sequence[Delta]) -> str:
    if lines := options.replies.splitlines():
        answers = sum(message.get("role") == "assistant" for message in messages)
        said = lines[min(answers, len(lines) - 1)]
    elif options.reply is not None:
        said = options.reply
    elif calls:
        return ""
    else:
        texts = (text_of(message) for message in reversed(messages) if message.get("role") == "user")
        said = next((text for text in texts if text.strip()), NOTHING_SAID)
    return " ".join([said] * options.repeat)


def _deltas(text: str, options: EchoOptions, calls: Sequence[Delta]) -> list[Delta]:
    deltas = [{"reasoning_content": word} for word in _WORD.findall(options.thinking)]
    deltas += [{"content": word} for word in _WORD.findall(text)]
    for index, call in enumerate(calls):
        name, arguments = call["name"], call["arguments"]
        start = {"index": index, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
        pieces = [{"index": index, "function": {"arguments": word}} for word in _WORD.findall(arguments)]
        deltas += [{"tool_calls": [piece]} for piece in (start, *pieces)]
    return deltas


def _calls(messages: Sequence[Mapping[str, Any]], options: EchoOptions) -> list[Delta]:
    """Return the calls of this step, none where all steps are over. Ids go on counting."""
    said = max((place for place, message in enumerate(messages) if message.get("role") == "user"), default=0)
    step = sum(bool(message.get("tool_calls")) for message in messages[said:])
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


def _usage(messages: Sequence[Mapping[str, Any]], deltas: Sequence[Delta]) -> dict[str, Any]:
    prompt = sum(len(text_of(message).split()) for message in messages)
    thinking = sum("reasoning_content" in delta for delta in deltas)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": len(deltas),
        "total_tokens": prompt + len(deltas),
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }
