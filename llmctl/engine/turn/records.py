"""Steps and attempts as columns of the tables that keep them, without secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmctl.core import clock
from llmctl.core.errors import LlmctlError
from llmctl.core.redaction.secret_patterns import REDACTED
from llmctl.core.stored_json import dumps
from llmctl.engine.turn.message_parts import ends_turn, message_columns, usage_columns
from llmctl.engine.turn.redaction import Redaction
from llmctl.engine.turn.state import Call, Ending, Step
from llmctl.store.writes import Delete, Insert, Update, Write

if TYPE_CHECKING:  # which recovers dead turns, whose rows are made here
    from llmctl.engine.turn.begin import Staged

Columns = dict[str, Any]

_MESSAGE_STATUS = {"completed": "completed", "interrupted": "interrupted"}

#: Columns of a message that may repeat a secret which the server sent back.
_TEXTS = ("content", "content_raw", "thinking_text", "metadata")

#: Response headers in which providers name the call, most specific first.
_REQUEST_IDS = (
    *("x-request-id", "request-id", "x-generation-id", "x-ds-trace-id", "mistral-correlation-id"),
    *("apim-request-id", "x-amzn-requestid", "x-debug-trace-id", "cf-ray"),
)

#: Columns of the ledger that lead to text.
_LINKS = ("chat_id", "thread_id", "message_id", "session_id", "parameters")


def begun(step: Step, staged: Staged) -> tuple[Columns, Columns, Columns]:
    """Return placeholder, request and stream as they begin."""
    message = {
        "id": step.message_id,
        "thread_id": staged.thread_id,
        "seq": step.seq,
        "role": "assistant",
        "status": "pending",
        "job_id": staged.job_id,
        "origin": "llmctl",
    }
    request = {
        "id": step.request_id,
        "chat_id": staged.chat_id,
        "thread_id": staged.thread_id,
        "message_id": step.message_id,
        "job_id": staged.job_id,
        "status": "pending",
        "origin": "llmctl",
    }
    stream = {
        "id": step.stream_id,
        "message_id": step.message_id,
        "request_id": step.request_id,
        "status": "pending",
    }
    return message, request, stream


def answer_columns(ending: Ending, chat_id: str | None, redact: Redaction) -> Columns:
    """Return the answer of a step as columns of its message."""
    columns = message_columns(ending.response) | {
        "status": _MESSAGE_STATUS.get(ending.status, "incomplete"),
        "chat_id": chat_id if ends_turn(ending.response.message, ending.status) else None,
        "error": _error_text(ending.error, redact),
    }
    return columns | {name: redact.text(columns[name]) for name in _TEXTS if columns[name]}


def request_columns(step: Step, ending: Ending, redact: Redaction) -> Columns:
    """Return the end of a step as columns of its request."""
    response, error = ending.response, ending.error
    return {
        "status": ending.status,
        "status_code": step.status_code,
        "duration": clock.elapsed_ms(step.started),
        "time_to_first_token": step.time_to_first_token_ms,
        "response_model": response.model,
        "response_id": response.response_id,
        "finish_reason": response.finish_reason,
        "error_code": error.code if error else None,
        "error_reason": error.reason if error else None,
        "error": _error_text(error, redact),
        **usage_columns(response.usage),
        **ending.billed,
    }


def stream_columns(step: Step, ending: Ending, redact: Redaction) -> Columns:
    """Return what a step brought as columns of its stream."""
    return {
        "status": ending.status,
        "raw_output": _raw_output(step, redact),
        "timeline": dumps(step.timeline),
        "result_messages": result_messages(ending, step.message_id, redact),
        "last_flushed_at": clock.now(),
    }


def result_messages(ending: Ending, message_id: str | None, redact: Redaction) -> str:
    """Return the messages that a stream held, as JSON; with their ids where they are kept."""
    text = ending.response.message.text
    if not ending.response.message.parts:
        return "[]"
    known = {"id": message_id} if ending.keeps and message_id else {}
    return dumps([{**known, "type": "chatModel", "content": redact.text(text)}])


def call_columns(call: Call, error: BaseException | None, redact: Redaction) -> Columns:
    """Return the end of an attempt as columns of its row."""
    message = error.message if isinstance(error, LlmctlError) else "interrupted" if error else None
    return {
        "status": "error" if error else "success",
        "status_code": call.status_code,
        "response_headers": dumps(redact.headers(call.headers)) if call.headers else None,
        "response": redact.text(call.body.decode("utf-8", "replace")) if call.body is not None else None,
        "duration": clock.elapsed_ms(call.started),
        "time_to_first_byte": call.time_to_first_byte_ms,
        "provider_request_id": _request_id(call.headers, redact),
        "error": redact.text(message) if message else None,
        "updated_at": clock.now(),
    }


def unkept(request_id: str, without: Collection[str]) -> list[Write]:
    """Return what removes the rows that go with a request's end; usage has been counted by then.

    Attempts and streams go with a request that is not kept: nothing would lead to their text any more.
    """
    gone = {"streams", "network", "requests"} if "requests" in without else without
    kinds = {
        "streams": Delete("response_streams", {"request_id": request_id}),
        "network": Delete("network_calls", {"request_id": request_id}),
        "requests": Delete("requests", {"id": request_id}),
    }
    return [write for kind, write in kinds.items() if kind in gone]


def ledger_only(writes: Iterable[Write]) -> Iterator[Write]:
    """Keep what says how much was used, and nothing of what was said."""
    for write in writes:
        match write:
            case Insert("requests", row):
                yield Insert("requests", {name: value for name, value in row.items() if name not in _LINKS})
            case Update("requests" | "jobs" as table, id, changes):
                yield Update(table, id, {name: value for name, value in changes.items() if name != "error"})


def _raw_output(step: Step, redact: Redaction) -> str:
    """Return the answer as it came. One that held a secret in pieces is not kept: put together it would be whole."""
    raw = b"".join(step.pieces).decode("utf-8", "replace")
    return redact.text(raw) if redact.count(raw) >= step.secrets else REDACTED


def _error_text(error: LlmctlError | None, redact: Redaction) -> str | None:
    return redact.text(error.message) if error else None


def _request_id(headers: Mapping[str, str], redact: Redaction) -> str | None:
    found = next((headers[name] for name in _REQUEST_IDS if name in headers), None)
    return redact.text(found) if found else None
