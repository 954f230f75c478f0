"""Requests that are no turn, and their attempts, as columns of the tables that keep them, without secrets."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import LlmctlError
from llmctl.core.stored_json import dumps
from llmctl.engine.jobs import lease
from llmctl.engine.single_request import Answer, Errand, Question
from llmctl.engine.turn.message_parts import usage_columns
from llmctl.engine.turn.redaction import Redaction
from llmctl.engine.turn.state import Step

Columns = dict[str, Any]


def job_row(job_id: str, errand: Errand, now: str) -> Columns:
    """Return the running job of a command, held by this process."""
    return {
        "id": job_id,
        "name": errand.kind,
        "type": "command",
        "status": "running",
        **lease.current()._asdict(),
        "lease_expires_at": lease.lease(),
        "started_at": now,
        "created_at": now,
        "updated_at": now,
    }


def request_row(step: Step, errand: Errand, job_id: str, now: str, redact: Redaction) -> Columns:
    """Return a request as it begins."""
    target, origin = errand.target, errand.origin
    return {
        "id": step.request_id,
        "job_id": job_id,
        "type": errand.kind,
        "status": "pending",
        "origin": "llmctl",
        "provider": target.provider.name,
        "model": target.model,
        "connection": target.connection,
        "tag": errand.keep.tag,
        "parameters": redact.request_text(dumps({"options": errand.options})),
        "script": origin.script,
        "folder": origin.folder if origin.ledger_folder else None,
        "git_commit": origin.git_commit,
        "host": origin.host,
        "created_at": now,
        "updated_at": now,
        **(step.reservation.columns() if step.reservation else {}),
    }


def ended(step: Step, status: str, answer: Answer | None, error: LlmctlError | None, redact: Redaction) -> Columns:
    """Return the end of a request."""
    return {
        "status": status,
        "status_code": step.status_code,
        "duration": clock.elapsed_ms(step.started),
        "response_model": answer.model if answer else None,
        "error_code": error.code if error else None,
        "error_reason": error.reason if error else None,
        "error": redact.text(error.message) if error else None,
        "updated_at": clock.now(),
        **usage_columns(answer.usage if answer else None),
    }


def call_row(question: Question, attempt: int, redact: Redaction) -> Columns:
    """Return an attempt as it begins; later ones send the same body."""
    http = question.http
    row = {
        "attempt": attempt,
        "endpoint": redact.url(http.url),
        "method": http.method,
        "body_hash": sha256(http.body).hexdigest(),
        "request_headers": dumps(redact.headers(http.headers)),
    }
    return row | ({"body": redact.request_text(question.kept)} if attempt == 1 else {})
