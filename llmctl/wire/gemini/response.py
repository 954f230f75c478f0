"""An answer that came in one piece, or as the JSON array that a stream without ``alt=sse`` is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UnavailableError
from llmctl.core.events import StreamEvent
from llmctl.wire.gemini.events import Reader
from llmctl.wire.refusals import page_error, stated_error


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole answer.

    Raises (while iterating) the error that a 200 carries, after its usage; an :class:`UnavailableError` with the
    reason ``not_json`` for a page or half an answer, ``no_answer`` for JSON without one; an IncompleteError after
    the end where the model's answer was of no use.
    """
    reader = Reader()
    answered = False
    for chunk in _chunks(body):
        yield from reader.read(chunk)
        if error := stated_error(chunk):
            raise error
        answered = answered or bool(chunk.get("candidates"))
    if not answered and reader.finish_reason is None:
        raise UnavailableError("the answer holds no candidates", reason="no_answer", status_code=200)
    yield reader.finish()
    if failure := reader.failure():
        raise failure


def _chunks(body: bytes) -> list[dict[str, Any]]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise page_error(200, body) from None
    chunks = answer if isinstance(answer, list) else [answer]
    if not all(isinstance(chunk, dict) for chunk in chunks):
        raise page_error(200, body)
    return chunks
