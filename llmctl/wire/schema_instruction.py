"""A JSON Schema in words, for hosts that cannot be given one by a field of the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmctl.core.messages import Message, Text
from llmctl.core.stored_json import dumps

_WORDS = "Answer with one JSON document and nothing else: no fence, no explanation. It must meet this JSON Schema:\n"


def instructed(messages: tuple[Message, ...], schema: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the messages with the schema as the end of the system prompt, which is made where there is none.

    The word "JSON" has to stand somewhere for the hosts that promise an object only:
    https://api-docs.deepseek.com/guides/json_mode
    """
    words = Text(_WORDS + dumps(schema))
    if messages and messages[0].role == "system":
        first = messages[0]
        return (replace(first, parts=(*first.parts, Text("\n\n"), words)), *messages[1:])
    return (Message("system", (words,)), *messages)
