"""An answer that came in one piece."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UnavailableError
from llmctl.core.events import StreamEvent
from llmctl.wire.json_body import whole_object
from llmctl.wire.openai_chat.errors import error_in
from llmctl.wire.openai_chat.events import Reader


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole answer. A body that is complete JSON is complete, whatever its finish reason.

    Raises (while iterating) the error that a 200 carries, after its usage; an :class:`UnavailableError` with the
    reason ``not_json`` for a page or half an answer, ``no_answer`` for JSON without one.
    """
    answer = whole_object(body)
    reader = Reader(dialect)
    yield from reader.read(answer, whole=True)
    if error := error_in(answer):
        raise error
    if not reader.began and reader.finish_reason is None and not answer.get("choices"):
        raise UnavailableError("the answer holds no choices", reason="no_answer", status_code=200)
    yield reader.finish()
