"""An answer that came in one piece."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UnavailableError
from llmctl.core.events import StreamEvent
from llmctl.wire.json_body import whole_object
from llmctl.wire.openai_responses.events import Reader
from llmctl.wire.refusals import error_of, stated_error


def parse_response(body: bytes, dialect: Dialect) -> Iterator[StreamEvent]:
    """Yield the events of a whole answer.

    Raises (while iterating) the error that a 200 carries, after its usage; an :class:`UnavailableError` with the
    reason ``not_json`` for a page or half an answer, ``no_answer`` for JSON without one.
    """
    answer = whole_object(body)
    if not isinstance(answer.get("output"), list) and "status" not in answer:
        if answer.get("detail"):
            raise error_of(answer)
        raise stated_error(answer) or UnavailableError(
            "the answer holds no output", reason="no_answer", status_code=200
        )
    reader = Reader()
    yield from reader.whole(answer)
    yield reader.ending()
