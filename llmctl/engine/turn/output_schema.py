"""Check answers that must match a JSON Schema, and send wrong ones back. Loaded only for turns with a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmctl.core.answer_text import find_json_documents
from llmctl.core.chat import ChatResponse, Message, Text
from llmctl.core.errors import InvalidOutputError
from llmctl.core.options import TurnOptions
from llmctl.engine.turn.history import CORRECTION_KEY
from llmctl.engine.turn.state import TurnResult


class OutputValidator:
    """Checks the answers of one turn against its schema, whatever the provider promises.

    An answer that does not match is sent back with the errors, as a further step of the same turn: the wrong answer
    stays in the thread but leaves the chat, and later turns do not send it.
    """

    def __init__(self, options: TurnOptions, result: TurnResult) -> None:
        self._options = options
        self._result = result
        self._rounds = 0

    def validate(self, response: ChatResponse, *, is_last: bool) -> Message | None:
        """Return the correction to send, or None for a valid answer: its value is in the result.

        Raises InvalidOutputError where the answer is invalid and no round is left.
        """
        schema = self._options.schema
        if schema is None:
            return None
        value, errors = check_output(schema, response.message.text)
        if not errors:
            self._result.data = value
            return None
        if is_last or self._rounds >= self._options.fix:
            raise _invalid_output_error(errors, self._rounds)
        self._rounds += 1
        self._result.new_messages.pop()
        return _correction_message(errors, self._rounds)

    def notice_text(self) -> str:
        """Return the notice of the correction that :meth:`validate` returned last."""
        return f"the answer does not match the schema; sending it back ({self._rounds} of {self._options.fix})"


def check_output(schema: Mapping[str, Any], text: str) -> tuple[Any, list[str]]:
    """Return the JSON value of an answer and its errors, one line each; no errors: it matches the schema.

    The first matching document in a fenced block counts; one that stands bare in the text, if no other one matches.
    """
    from llmctl.tools import json_schema

    try:
        found = find_json_documents(text)
    except ValueError as error:
        return None, [f"invalid JSON: {error}"]
    errors = [json_schema.find_errors(schema, document) for document in found.values]
    matching = [document for document, found in zip(found.values, errors, strict=True) if not found]
    if found.are_bare and len(matching) > 1:
        return None, [f"invalid JSON: {len(matching)} documents instead of one"]
    return (matching[0], []) if matching else (found.values[0], errors[0])


def _correction_message(errors: Sequence[str], number: int) -> Message:
    lines = "".join(f"- {line}\n" for line in errors)
    text = (
        f"Your answer does not match the required JSON Schema:\n{lines}"
        "Answer again with the complete JSON document and nothing else."
    )
    return Message("user", (Text(text),), {CORRECTION_KEY: number})


def _invalid_output_error(errors: Sequence[str], rounds: int) -> InvalidOutputError:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    after = f" after {rounds} correction{'' if rounds == 1 else 's'}" if rounds else ""
    return InvalidOutputError(
        f"the answer does not match the schema{after}: {errors[0]}{more}",
        hint="show the answer: llmctl chats show last" + ("" if rounds else "; --fix N sends it back with the errors"),
        reason="schema",
    )
