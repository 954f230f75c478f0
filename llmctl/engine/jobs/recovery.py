"""What a dead process left: its turn is finished with the status it deserves, and its thread is free again."""

from __future__ import annotations

from typing import Any

from llmctl.core import clock
from llmctl.core.chat import ChatResponse
from llmctl.core.redaction.secret_patterns import REDACTED
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.jobs import lease
from llmctl.engine.turn import decode, records
from llmctl.engine.turn.message_parts import usage_columns
from llmctl.engine.turn.redaction import Redaction
from llmctl.engine.turn.state import Ending
from llmctl.store.database import Database, Row
from llmctl.store.records import chunks
from llmctl.store.writes import Delete, Update, Write, legible

_NOTHING = Redaction()
_WORDS = "the process died before the answer was complete"

#: Said of a tool that ran in a process that died. It is not run again by itself.
TOOL_DIED = "the process that ran it died before it was complete; whether it had an effect is not known"


#: What ran, and what a person asked for that had not begun.
_RUNS = """
SELECT i.id, i.status, s.id AS session_id FROM {tool_invocations} i LEFT JOIN {agent_sessions} s ON s.id = i.id
WHERE i.job_id = ? AND (i.status = 'running' OR i.status = 'pending' AND i.message_id IS NULL)
"""


def recover_job(database: Database, job: Row, redact: Redaction = _NOTHING) -> int:
    """Finish everything that the dead holder ``job`` left pending; return the number of calls that it left.

    The caller has made sure that the holder is dead. One transaction; joins a running one. ``redact`` knows the
    secrets that the dead one may have been sent back in pieces.
    """
    with database.transaction(durable=True):
        now = clock.now()
        payload = loads(job["payload"], {})
        requests = database.query(
            "SELECT * FROM {requests} WHERE job_id = ? AND status = 'pending' ORDER BY created_at", (job["id"],)
        )
        for request in requests:
            database.commit(*_step_writes(database, request, payload, redact, now))
        database.commit(*_job_writes(database, job, now))
        parts = database.query("SELECT * FROM {jobs} WHERE parent_id = ? AND status = 'running'", (job["id"],))
        dead = [part for part in parts if not lease.is_alive(part) and not lease.command_is_alive(part)]
        return len(requests) + sum(recover_job(database, part, redact) for part in dead)


def leave_parts(database: Database, job_id: str) -> None:
    """Finish what threads of this process still do for a job: it is about to die, and they do not hear of it."""
    sql = "SELECT * FROM {jobs} WHERE parent_id = ? AND status = 'running' AND pid = ? AND host = ?"
    me = lease.current()
    for part in database.query(sql, (job_id, me.pid, me.host)):
        recover_job(database, part)
        leave_parts(database, part["id"])


def recover_all(database: Database) -> list[Row]:
    """Recover every running job whose holder is dead; return those jobs as they were."""
    running = database.query("SELECT * FROM {jobs} WHERE status = 'running' ORDER BY created_at")
    dead = [job for job in running if not lease.is_alive(job) and not lease.command_is_alive(job)]
    for job in dead:
        recover_job(database, job)
    return dead


def _step_writes(database: Database, request: Row, payload: dict[str, Any], redact: Redaction, now: str) -> list[Write]:
    """Return what finishes one call to a model: message, stream, request, and what is not to be kept."""
    stream = database.one("SELECT * FROM {response_streams} WHERE request_id = ?", (request["id"],))
    raw = chunks.raw(database, stream) if stream else b""
    response = decode.fold_raw(raw, loads(stream["format"], {}) if stream else {})[0]
    keeps = bool(response.message.parts) and not payload.get("rollback")
    ending = Ending("interrupted", response, keeps, {}, None)
    writes = _message_writes(request["message_id"], ending, payload, redact, now)
    if stream:
        results = records.result_messages(ending, request["message_id"], redact)
        writes += _stream_writes(database, stream, _output(raw, response, redact), results, now)
    writes.append(legible(Update("requests", request["id"], _request_columns(database, request, response, now))))
    return writes + records.unkept(request["id"], payload.get("without", ()))


def _message_writes(
    message_id: str | None, ending: Ending, payload: dict[str, Any], redact: Redaction, now: str
) -> list[Write]:
    if message_id is None:
        return []
    if not ending.keeps:
        return [Delete("messages", {"id": message_id})]
    changes = records.answer_columns(ending, payload.get("chat_id"), redact) | {"error": _WORDS, "updated_at": now}
    return [legible(Update("messages", message_id, changes))]


def _output(raw: bytes, response: ChatResponse | None, redact: Redaction) -> str:
    """Return the answer as it came; one that held a secret in pieces is not kept."""
    text = raw.decode("utf-8", "replace")
    said = response.message.text + response.message.thinking if response else ""
    return redact.text(text) if redact.count(said) <= redact.count(text) else REDACTED


def _stream_writes(database: Database, stream: Row, output: str, results: str, now: str) -> list[Write]:
    changes = {
        "status": "interrupted",
        "raw_output": output,
        "result_messages": results,
        "timeline": dumps(chunks.timeline(database, stream["id"])),
        "updated_at": now,
    }
    return [Update("response_streams", stream["id"], changes), Delete("stream_chunks", {"stream_id": stream["id"]})]


def _request_columns(database: Database, request: Row, response: ChatResponse, now: str) -> dict[str, Any]:
    from llmctl.engine.billing import settle  # which opens what knows of prices

    elapsed = clock.parsed(now) - clock.parsed(request["created_at"])
    return {
        "status": "interrupted",
        "error_code": "incomplete",
        "error_reason": "died",
        "error": _WORDS,
        "duration": request["duration"] or int(elapsed.total_seconds() * 1000) or None,
        "response_model": response.model,
        "response_id": response.response_id,
        "finish_reason": response.finish_reason,
        "updated_at": now,
        **usage_columns(response.usage),
        **settle.columns(database, request, response),
    }


def _job_writes(database: Database, job: Row, now: str) -> list[Write]:
    words = "its process died before it ended" if job["type"] == "command" else _WORDS
    finished = {"status": "failed", "error": words, "finished_at": now, "updated_at": now}
    calls = database.query("SELECT id FROM {network_calls} WHERE job_id = ? AND status = 'pending'", (job["id"],))
    invocations = database.query(_RUNS, (job["id"],))
    held = database.query("SELECT id FROM {message_threads} WHERE locking_job_id = ?", (job["id"],))
    return [
        *(Update("network_calls", row["id"], {"status": "error", "error": _WORDS, "updated_at": now}) for row in calls),
        *(_run_write(row, now) for row in invocations),
        *(Update("message_threads", row["id"], {"locking_job_id": None, "updated_at": now}) for row in held),
        Update("jobs", job["id"], finished),
    ]


def _run_write(row: Row, now: str) -> Write:
    """Return what finishes a run; what an agent was asked waits again, since its session tells how far it came."""
    changes: dict[str, Any] = {"status": "failed", "error": TOOL_DIED, "finished_at": now}
    if row["session_id"]:
        changes = {"status": "pending"}
    elif row["status"] == "pending":
        changes = {"status": "cancelled", "error": "the process died before it began", "finished_at": now}
    return Update("tool_invocations", row["id"], changes | {"updated_at": now})
