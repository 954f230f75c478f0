"""Recover what a dead process left: finish its rows with a status and release its threads."""

from __future__ import annotations

from typing import Any, Literal

from llmctl.core import clock
from llmctl.core.chat import ChatResponse
from llmctl.core.errors import LockedError, StorageError
from llmctl.core.redaction import REDACTED, Redaction
from llmctl.core.stored_values import dumps, loads, parse_json_or_text
from llmctl.core.values import Value
from llmctl.engine.jobs import lease
from llmctl.engine.tools.records import TOOL_DIED_ERROR
from llmctl.engine.turn import decode, records
from llmctl.engine.turn.records import usage_columns
from llmctl.engine.turn.state import CallEnd
from llmctl.store.database import (
    WRITE_ERRORS,
    Database,
    Delete,
    Row,
    Update,
    Write,
    to_storable_write,
    write_error,
)
from llmctl.store.records import chats, invocations, jobs, map_items, requests
from llmctl.store.records.types import JobRow, RequestRow

_NO_SECRETS = Redaction()
_DIED_ERROR = "the process died before the answer was complete"

#: ``free``: it was not locked; ``recovered``: by a dead process; ``forced``: by a live one, which lost it.
UnlockResult = Literal["free", "recovered", "forced"]


class Recovered(Value):
    """What a recovery did."""

    #: The rows of the recovered jobs, from before.
    jobs: list[JobRow]
    #: Ids of the jobs that could not be recovered, and why.
    failed: dict[str, StorageError]
    #: Number of requests and messages that were pending although their job had ended.
    abandoned: int


def recover_job(database: Database, job: JobRow, redact: Redaction = _NO_SECRETS) -> int:
    """Finish everything that the dead process of ``job`` left pending; return the number of its requests.

    The caller has checked that the process is dead. One transaction; joins a running one. ``redact`` knows the secrets
    that the process may have received in pieces.
    """
    with database.transaction(durable=True):
        now = clock.now()
        pending = requests.list_pending(database, job.id)
        for request in pending:
            _recover_request(database, request, _parse_payload(job), redact, now)
        database.commit(*_job_writes(database, job, now))
        children = [child for child in jobs.list_running_children(database, job.id) if not lease.is_job_alive(child)]
        return len(pending) + sum(recover_job(database, child, redact) for child in children)


def recover_children(database: Database, job_id: str) -> None:
    """Finish the child jobs of this process's threads before it exits: the threads are not notified."""
    own = lease.process_identity()
    for child in jobs.list_running_children(database, job_id, pid=own.pid, host=own.host):
        recover_job(database, child)
        recover_children(database, child.id)


def recover_dead_jobs(database: Database) -> Recovered:
    """Recover every running job whose process is dead, and what no job works on; go on past one that fails."""
    dead = [job for job in jobs.list_running(database) if not lease.is_job_alive(job)]
    failed = _recover_each(database, dead)
    with database.transaction(durable=True):
        abandoned = _recover_abandoned(database)
    return Recovered([job for job in dead if job.id not in failed], failed, abandoned)


def recover_dead_reservations(database: Database) -> bool:
    """Recover the jobs of dead processes that have a cost reserved; return whether there were any."""
    dead = [job for job in requests.list_reserving_jobs(database) if not lease.is_alive(job)]
    return len(_recover_each(database, dead)) < len(dead)


def _recover_each(database: Database, dead: list[JobRow]) -> dict[str, StorageError]:
    """Recover jobs; return the ids of those that could not be, with the reason. A full disk ends it."""
    failed: dict[str, StorageError] = {}
    for job in dead:
        try:
            recover_job(database, job)
        except WRITE_ERRORS as error:
            failed[job.id] = write_error(database.path, error)
        except StorageError as error:
            if error.reason != "corrupt":
                raise
            failed[job.id] = error
    return failed


def _recover_abandoned(database: Database) -> int:
    """Finish what is pending although its job has ended; return how many requests and messages that were."""
    now = clock.now()
    abandoned = requests.list_abandoned(database)
    for request in abandoned:
        job = jobs.find(database, request.job_id)
        payload = _parse_payload(job) if job else {}
        _recover_request(database, request, {"chat_id": request.chat_id, **payload}, _NO_SECRETS, now)
    messages = chats.list_abandoned_messages(database)
    died = {"status": "error", "error": _DIED_ERROR, "updated_at": now}
    unlocked = {"locking_job_id": None, "updated_at": now}
    database.commit(
        *(_abandoned_message_write(row, now) for row in messages),
        *(Update("network_calls", id, died) for id in requests.abandoned_attempt_ids(database)),
        *(_invocation_write(row, now) for row in invocations.list_abandoned(database)),
        *(Update("message_threads", id, unlocked) for id in chats.list_abandoned_locks(database)),
    )
    return len(abandoned) + len(messages)


def _abandoned_message_write(row: Row, now: str) -> Write:
    """Return the write that ends a placeholder; one of another program stays, since that may still write to it."""
    if row["origin"] == "orm":
        return Update("messages", row["id"], {"status": "interrupted", "updated_at": now})
    return Delete("messages", {"id": row["id"]})


def unlock_thread(database: Database, thread_id: str, *, force: bool = False) -> UnlockResult:
    """Release the lock of a thread. Raises LockedError if a live job holds it, unless ``force``.

    One transaction; joins a running one, so that the rest of it has the thread for itself.
    """
    with database.transaction(durable=True):
        job = chats.find_locking_job(database, thread_id)
        if job is None:
            return "free"
        is_alive = lease.is_alive(job)
        if is_alive and not force:
            raise thread_in_use_error(
                job, hint="wait until it ends, or take the lock from a hanging process with --force"
            )
        recover_job(database, job)
        return "forced" if is_alive else "recovered"


def thread_in_use_error(job: JobRow, *, hint: str) -> LockedError:
    """Return the error for a thread that a live job has locked."""
    return LockedError(
        f"the conversation is in use by process {job.pid} on {str(job.host).partition('/')[0]}",
        hint=hint,
    )


def _parse_payload(job: JobRow) -> dict[str, Any]:
    payload = parse_json_or_text(job.payload)
    return payload if isinstance(payload, dict) else {}


def _recover_request(
    database: Database, request: RequestRow, payload: dict[str, Any], redact: Redaction, now: str
) -> None:
    """Finish a request with what it received; where that cannot be stored, without it: the bytes stay."""
    try:
        with database.savepoint():
            writes = _request_writes(database, request, payload, redact, now)
            database.commit(*map(to_storable_write, writes))
    except (*WRITE_ERRORS, ValueError, RecursionError) as error:
        problem = f"{_DIED_ERROR}; what it received cannot be stored: {error}"
        database.commit(*map(to_storable_write, _bare_request_writes(database, request, problem, now)))


def _bare_request_writes(database: Database, request: RequestRow, problem: str, now: str) -> list[Write]:
    """Return the writes that finish a request without its answer; the chunks of its stream stay as they are."""
    stream = requests.find_request_stream(database, request.id)
    ended = {"status": "interrupted", "updated_at": now}
    failed = {"error_code": "incomplete", "error_reason": "died", "error": problem}
    return [
        *([Delete("messages", {"id": request.message_id})] if request.message_id else []),
        Update("requests", request.id, ended | failed),
        *([Update("response_streams", stream["id"], ended)] if stream else []),
    ]


def _request_writes(
    database: Database, request: RequestRow, payload: dict[str, Any], redact: Redaction, now: str
) -> list[Write]:
    """Return the writes that finish a request: message, stream, request, and the deletion of unwanted rows."""
    stream = requests.find_request_stream(database, request.id)
    raw = requests.stream_bytes(database, stream) if stream else b""
    tools = loads(request.parameters, {}).get("tools") or ()
    received = decode.parse_stored_answer(raw, loads(stream["format"], {}) if stream else {}, tools)[0]
    response = redact.response(received)
    keeps = bool(response.message.parts) and not payload.get("rollback")
    end = CallEnd("interrupted", response, keeps, {}, None)
    writes = _message_writes(request.message_id, end, payload, redact, now)
    if stream:
        results = records.result_messages(end, request.message_id, redact)
        writes += _stream_writes(database, stream, _redact_output(raw, received, redact), results, now)
    writes.append(Update("requests", request.id, _request_columns(database, request, response, now)))
    return writes + records.deletions_for(request.id, payload.get("without", ()))


def _message_writes(
    message_id: str | None, end: CallEnd, payload: dict[str, Any], redact: Redaction, now: str
) -> list[Write]:
    if message_id is None:
        return []
    if not end.keeps_message:
        return [Delete("messages", {"id": message_id})]
    changes = records.answer_columns(end, payload.get("chat_id"), redact) | {"error": _DIED_ERROR, "updated_at": now}
    return [Update("messages", message_id, changes)]


def _redact_output(raw: bytes, response: ChatResponse, redact: Redaction) -> str:
    """Return the raw answer without secrets; nothing of it if it held a secret in pieces."""
    raw_text, message = raw.decode("utf-8", "replace"), response.message
    text = message.text + message.thinking
    is_in_field = redact.response(response) != response and not redact.count(text)
    return redact.text(raw_text) if redact.count(text) <= redact.count(raw_text) and not is_in_field else REDACTED


def _stream_writes(database: Database, stream: Row, output: str, results: str, now: str) -> list[Write]:
    changes = {
        "status": "interrupted",
        "raw_output": output,
        "result_messages": results,
        "timeline": dumps(records.join_arrivals(requests.chunk_timeline(database, stream["id"]))),
        "updated_at": now,
    }
    return [Update("response_streams", stream["id"], changes), Delete("stream_chunks", {"stream_id": stream["id"]})]


def _request_columns(database: Database, request: RequestRow, response: ChatResponse, now: str) -> dict[str, Any]:
    from llmctl.engine.billing import cost  # loads the prices

    elapsed = clock.parse(now) - clock.parse(request.created_at)
    return {
        "status": "interrupted",
        "error_code": "incomplete",
        "error_reason": "died",
        "error": _DIED_ERROR,
        "duration": request.duration or int(elapsed.total_seconds() * 1000) or None,
        "response_model": response.model,
        "response_id": response.response_id,
        "finish_reason": response.finish_reason,
        "updated_at": now,
        **usage_columns(response.usage),
        **cost.settle_stored_request(database, request, response),
    }


def _job_writes(database: Database, job: JobRow, now: str) -> list[Write]:
    error = "its process died before it ended" if job.type in ("command", map_items.TYPE) else _DIED_ERROR
    attempt_end = {"status": "error", "error": _DIED_ERROR, "updated_at": now}
    unlocked = {"locking_job_id": None, "updated_at": now}
    undone = {"status": "pending", "updated_at": now}
    return [
        *(Update("network_calls", id, attempt_end) for id in requests.pending_attempt_ids(database, job.id)),
        *(_invocation_write(row, now) for row in invocations.list_interrupted(database, job.id)),
        *(Update("map_items", id, undone) for id in map_items.list_running_ids(database, job.id)),
        *(Update("message_threads", id, unlocked) for id in chats.locked_thread_ids(database, job.id)),
        Update("jobs", job.id, {"status": "failed", "error": error, "finished_at": now, "updated_at": now}),
    ]


def _invocation_write(row: Row, now: str) -> Write:
    """Return the write that finishes a call. A sub-agent's call becomes pending: its session resumes where it was."""
    changes: dict[str, Any] = {"status": "failed", "error": TOOL_DIED_ERROR, "finished_at": now}
    if row["session_id"]:
        changes = {"status": "pending"}
    elif row["status"] == "pending":
        changes = {"status": "cancelled", "error": "the process died before it began", "finished_at": now}
    return Update("tool_invocations", row["id"], changes | {"updated_at": now})
