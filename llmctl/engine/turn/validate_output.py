"""Answers that have to meet a schema: checked here whoever promised to, and sent back with what is wrong.

A JSON document may stand alone or be the first fenced block of the answer. What is sent back is a step of the same
turn: the wrong answer stays in the thread but leaves the chat, and the next turn no longer hears of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import ChatResponse
from llmctl.core.errors import InvalidOutputError
from llmctl.core.markdown import first_block
from llmctl.core.messages import Message, Text
from llmctl.engine.turn.begin import Staged, message_writes
from llmctl.engine.turn.history import CORRECTION
from llmctl.engine.turn.options import Manner
from llmctl.engine.turn.result import Outcome
from llmctl.store.writes import Insert, Update, Write


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise UsageError where this is no JSON Schema."""
    from llmctl.tools import json_schema  # the validator: only for those who have a schema

    json_schema.check(schema)


def check(schema: Mapping[str, Any], text: str) -> tuple[Any, list[str]]:
    """Return the JSON value of an answer and what is wrong with it, a line each; none: it meets the schema."""
    from llmctl.tools import json_schema

    try:
        value = _value(text)
    except ValueError as error:
        return None, [f"this is no JSON: {error}"]
    return value, json_schema.errors(schema, value)


class Correction:
    """Watches over the answers of one turn."""

    def __init__(self, manner: Manner, outcome: Outcome) -> None:
        self._manner = manner
        self._outcome = outcome
        self._rounds = 0

    def needed(self, response: ChatResponse, *, is_last: bool) -> Message | None:
        """Return what the model has to be told, or None for an answer that is good: its value is in the outcome.

        Raises InvalidOutputError where it is not good and no round is left.
        """
        schema = self._manner.schema
        if schema is None:
            return None
        value, wrong = check(schema, response.message.text)
        if not wrong:
            self._outcome.data = value
            return None
        if is_last or self._rounds >= self._manner.fix:
            raise _invalid(wrong, self._rounds)
        self._rounds += 1
        self._outcome.new_messages.pop()
        return _told(wrong, self._rounds)

    def note(self) -> str:
        """Say that an answer goes back."""
        return f"the answer does not meet the schema; sent back, {self._rounds} of {self._manner.fix}"


def writes(told: Message, answer_id: str | None, staged: Staged) -> list[Write]:
    """Return the rows of an answer that is sent back: both it and what is said to it are no part of the chat."""
    left = [] if answer_id is None else [Update("messages", answer_id, {"chat_id": None, "updated_at": clock.now()})]
    return left + [
        replace(write, row={**write.row, "chat_id": None})
        if isinstance(write, Insert) and write.table == "messages"
        else write
        for write in message_writes(staged, told)
    ]


def _told(wrong: Sequence[str], number: int) -> Message:
    lines = "".join(f"- {line}\n" for line in wrong)
    text = (
        f"Your answer does not meet the JSON Schema that was asked for:\n{lines}"
        "Answer again, with the whole JSON document and nothing else."
    )
    return Message("user", (Text(text),), {CORRECTION: number})


def _invalid(wrong: Sequence[str], rounds: int) -> InvalidOutputError:
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    after = f" after {rounds} correction{'' if rounds == 1 else 's'}" if rounds else ""
    return InvalidOutputError(
        f"the answer does not meet the schema{after}: {wrong[0]}{more}",
        hint="the answer: llmctl chats show last" + ("" if rounds else "; --fix N sends it back with what is wrong"),
        reason="schema",
    )


def _value(text: str) -> Any:
    """Read the answer as JSON, or the first fenced block of it. Raises ValueError."""
    try:
        return _loaded(text)
    except ValueError:
        block = first_block(text)
        if block is None:
            raise
        return _loaded(block)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def _no_number(word: str) -> Any:
    raise ValueError(f"JSON knows no {word}")
