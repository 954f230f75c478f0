"""An answer that came in one piece."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UnavailableError
from llmctl.core.events import StreamEvent
from llmctl.wire.anthropic.errors import stated_error
from llmctl.wire.anthropic.events import Reader
from llmctl.wire.json_body import whole_object


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole answer.

    Raises (while iterating) the error that a 200 carries; an :class:`UnavailableError` with the reason ``not_json``
    for a page or half an answer, ``no_answer`` for JSON without one.
    """
    answer = whole_object(body)
    if answer.get("type") == "error" or answer.get("error"):
        raise stated_error(answer)
    reader = Reader()
    yield from reader.start(answer)
    content = answer.get("content")
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if isinstance(block, dict):
            yield from reader.block(index, block)
    yield from reader.change(answer)
    if not reader.began and reader.stop_reason is None:
        raise UnavailableError("the answer holds no content", reason="no_answer", status_code=200)
    yield from reader.finish()
