"""Batch jobs of Mistral: requests inline or as a file, the model beside them, results in the job or as files.

https://docs.mistral.ai/capabilities/batch
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_values import dumps
from llmctl.wire.batches import (
    BatchInput,
    BatchProtocol,
    BatchState,
    BatchStatus,
    HttpReply,
    Results,
    Steps,
    get_request,
    post_request,
    search_list,
)
from llmctl.wire.batches.openai import MARKER_KEY, build_upload, parse_result
from llmctl.wire.batches.openai import read_results as read_files

_PATH = "/batch/jobs"
_STATUSES: Mapping[str, BatchStatus] = {
    "SUCCESS": "completed",
    "FAILED": "failed",
    "TIMEOUT_EXCEEDED": "expired",
    "CANCELLATION_REQUESTED": "cancelling",
    "CANCELLED": "cancelled",
}
#: More requests go as a file.
_MAX_INLINE = 10_000

#: Jobs on a page of the list.
_PAGE_SIZE = 100


def submit(endpoint: Endpoint, batch: BatchInput) -> Steps[BatchState]:
    """Create the job; the model stands beside the requests, not in them."""
    bodies = [{name: value for name, value in one.body.items() if name != "model"} for one in batch.requests]
    lines = [{"custom_id": one.custom_id, "body": body} for one, body in zip(batch.requests, bodies, strict=True)]
    job: dict[str, Any] = {
        "endpoint": f"/v1{batch.path}",
        "model": batch.model,
        "metadata": {MARKER_KEY: batch.marker},
        "timeout_hours": batch.window_hours,
    }
    if len(lines) <= _MAX_INLINE:
        job["requests"] = lines
    else:
        data = b"".join(dumps(line).encode("utf-8", "replace") + b"\n" for line in lines)
        reply = yield build_upload(endpoint, "/files", {"purpose": "batch"}, f"{batch.marker}.jsonl", data)
        job["input_files"] = [str(reply.parse().get("id", ""))]
    reply = yield post_request(endpoint, _PATH, dumps(job).encode("utf-8", "replace"))
    return parse_state(reply)


def build_state_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return get_request(endpoint, f"{_PATH}/{remote_id}")


def build_cancel_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return post_request(endpoint, f"{_PATH}/{remote_id}/cancel")


def parse_state(reply: HttpReply) -> BatchState:
    return _to_state(reply.parse())


def _to_state(document: Mapping[str, Any]) -> BatchState:
    remote_status = str(document.get("status", ""))
    errors = document.get("errors") or ()
    created = document.get("created_at")
    files = {name: document.get(f"{name}_file") for name in ("output", "error")}
    return BatchState(
        remote_id=str(document.get("id", "")),
        status=_STATUSES.get(remote_status, "running"),
        remote_status=remote_status,
        counts={
            "total": int(document.get("total_requests") or 0),
            "completed": int(document.get("succeeded_requests") or 0),
            "failed": int(document.get("failed_requests") or 0),
        },
        files={name: str(id) for name, id in files.items() if id},
        error=str(errors[0].get("message")) if errors and isinstance(errors[0], Mapping) else None,
        created_at=clock.from_unix(created) if isinstance(created, int | float) else None,
        inline=[one for one in document.get("outputs") or () if isinstance(one, Mapping)],
    )


def read_results(endpoint: Endpoint, state: BatchState) -> Results:
    """Read the results of the job: those in it where it has some, else its files."""
    reply = yield get_request(
        endpoint.replace(query={**endpoint.query, "inline": "true"}), f"{_PATH}/{state.remote_id}"
    )
    assert reply
    current = parse_state(reply)
    if not current.inline:
        yield from read_files(endpoint, current)
        return
    for line in current.inline:
        if (result := parse_result(line)) is not None:
            yield result


def find(endpoint: Endpoint, batch: BatchInput) -> Steps[list[BatchState]]:
    """Return the jobs with our marker in their metadata."""
    found = yield from search_list(
        endpoint,
        _PATH,
        {"page_size": str(_PAGE_SIZE)},
        "data",
        lambda one: (one.get("metadata") or {}).get(MARKER_KEY) == batch.marker,
        lambda page, items, number: {"page": str(number + 1)} if len(items) >= _PAGE_SIZE else {},
    )
    return [_to_state(one) for one in found]


PROTOCOL = BatchProtocol(
    name="mistral",
    max_requests=1_000_000,
    max_bytes=100_000_000,
    submit=submit,
    build_state_request=build_state_request,
    parse_state=parse_state,
    read_results=read_results,
    build_cancel_request=build_cancel_request,
    find=find,
)
