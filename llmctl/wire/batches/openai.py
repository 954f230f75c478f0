"""Batches of OpenAI, and of hosts that follow it (Azure, Groq, Together): a file of lines, and one or two of results.

https://platform.openai.com/docs/api-reference/batch
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_values import dumps
from llmctl.wire.batches import (
    MAX_LIST_PAGES,
    BatchInput,
    BatchProtocol,
    BatchResult,
    BatchState,
    BatchStatus,
    HttpReply,
    ResultKind,
    Results,
    Steps,
    get_request,
    parse_lines,
    post_request,
    unread_error,
)
from llmctl.wire.requests import JSON, build_url

#: Key of the metadata that holds our marker.
MARKER_KEY = "llmctl"
_STATUSES: Mapping[str, BatchStatus] = {
    "completed": "completed",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
    "cancelling": "cancelling",
}
#: Code of a batch that failed because others have used up the tokens that may wait.
QUEUE_FULL = "token_limit_exceeded"
#: Codes of lines that were not answered because the batch ended.
_UNSENT_CODES = ("batch_expired", "batch_cancelled")


def build_lines(batch: BatchInput) -> bytes:
    """Return the input file. Paths of lines begin at the version, whatever is before it in the base URL."""
    lines = (
        {"custom_id": one.custom_id, "method": "POST", "url": f"/v1{one.path}", "body": one.body}
        for one in batch.requests
    )
    return b"".join(dumps(line).encode("utf-8", "replace") + b"\n" for line in lines)


def build_upload(endpoint: Endpoint, path: str, fields: Mapping[str, str], name: str, data: bytes) -> HttpRequest:
    """Return a multipart form with a file (RFC 7578); the boundary is derived from the content."""
    boundary = f"form-{sha256(data).hexdigest()[:32]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    parts.append(f"{head}Content-Type: application/jsonl\r\n\r\n".encode() + data + b"\r\n")
    headers = {"content-type": f"multipart/form-data; boundary={boundary}", "accept": JSON}
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return HttpRequest("POST", build_url(endpoint, path), headers | dict(endpoint.headers), body)


def submit(endpoint: Endpoint, batch: BatchInput) -> Steps[BatchState]:
    """Upload the lines and create the batch; only the second costs anything."""
    name = f"{batch.marker}.jsonl"
    reply = yield build_upload(endpoint, "/files", {"purpose": "batch"}, name, build_lines(batch))
    file_id = _require_id(reply.parse())
    body = {
        "input_file_id": file_id,
        "endpoint": f"/v1{batch.path}",
        "completion_window": f"{batch.window_hours}h",
        "metadata": {MARKER_KEY: batch.marker},
    }
    reply = yield post_request(endpoint, "/batches", dumps(body).encode())
    return parse_state(reply)


def _submit_to_together(endpoint: Endpoint, batch: BatchInput) -> Steps[BatchState]:
    """Do the same in Together's way, which has no metadata: the name of the file is the marker."""
    name = f"{batch.marker}.jsonl"
    fields = {"purpose": "batch-api", "file_name": name}
    reply = yield build_upload(endpoint, "/files/upload", fields, name, build_lines(batch))
    file_id = _require_id(reply.parse())
    body = {"input_file_id": file_id, "endpoint": f"/v1{batch.path}", "completion_window": "24h"}
    reply = yield post_request(endpoint, "/batches", dumps(body).encode())
    return parse_state(reply)


def build_state_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return get_request(endpoint, f"/batches/{remote_id}")


def build_cancel_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return post_request(endpoint, f"/batches/{remote_id}/cancel")


def parse_state(reply: HttpReply) -> BatchState:
    """Return the state of a batch object; Together wraps it in ``job`` when it is created, and writes capitals."""
    document = reply.parse()
    return _to_state(document["job"] if isinstance(document.get("job"), dict) else document)


def _to_state(document: Mapping[str, Any]) -> BatchState:
    remote_status = str(document.get("status", ""))
    counts = document.get("request_counts")
    files = {name: document.get(f"{name}_file_id") for name in ("input", "output", "error")}
    return BatchState(
        remote_id=_require_id(document),
        status=_STATUSES.get(remote_status.lower(), "running"),
        remote_status=remote_status,
        counts={name: int(counts.get(name) or 0) for name in ("total", "completed", "failed")}
        if isinstance(counts, Mapping)
        else {},
        files={name: str(id) for name, id in files.items() if id},
        error=_find_error(document),
        is_queue_full=QUEUE_FULL in str(document.get("errors")),
        expires_at=_to_time(document.get("expires_at") or document.get("job_deadline")),
        created_at=_to_time(document.get("created_at")),
    )


def _find_error(document: Mapping[str, Any]) -> str | None:
    """Return the first error of a batch that failed as a whole, with its line."""
    errors = document.get("errors")
    found = errors.get("data") if isinstance(errors, Mapping) else None
    if isinstance(found, list) and found and isinstance(found[0], Mapping):
        line = found[0].get("line")
        return str(found[0].get("message")) + (f" (line {line})" if line is not None else "")
    error = document.get("error")
    return str(error) if error else None


def _to_time(value: Any) -> str | None:
    """Return a Unix time or an RFC 3339 text as a stored time."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return clock.from_unix(value)
    try:
        return clock.format(clock.parse(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def _require_id(document: Mapping[str, Any]) -> str:
    if not document.get("id"):
        raise UnavailableError("the provider's answer about a batch has no id", reason="not_json")
    return str(document["id"])


def read_results(endpoint: Endpoint, state: BatchState) -> Results:
    """Read the answers, then the errors: an expired or cancelled batch has both, too."""
    for name in ("output", "error"):
        if name not in state.files:
            continue
        reply = yield get_request(endpoint, f"/files/{state.files[name]}/content")
        assert reply
        for line in parse_lines(reply.body):
            if (result := parse_result(line)) is not None:
                yield result


def parse_result(line: Mapping[str, Any]) -> BatchResult | None:
    """Return the result on a line; None where it names no request."""
    custom_id, response, error = line.get("custom_id"), line.get("response"), line.get("error")
    if custom_id is None:
        return None
    if isinstance(response, Mapping) and response.get("body") is not None:
        status = int(response.get("status_code") or 200)
        kind: ResultKind = "answered" if 200 <= status < 300 else "failed"
        return BatchResult(str(custom_id), kind, dumps(response["body"]).encode("utf-8", "replace"), status)
    code = error.get("code") if isinstance(error, Mapping) else None
    if code in _UNSENT_CODES:
        return BatchResult(str(custom_id), "unsent")
    body = dumps({"error": error or "the provider gave no answer"}).encode("utf-8", "replace")
    refused_with = response.get("status_code") if isinstance(response, Mapping) else None
    return BatchResult(str(custom_id), "failed", body, int(refused_with) if refused_with else None)


def find(endpoint: Endpoint, batch: BatchInput) -> Steps[list[BatchState]]:
    """Return the batches with our marker in their metadata."""
    found: list[BatchState] = []
    after = ""
    for _ in range(MAX_LIST_PAGES):
        reply = yield get_request(
            _with_query(endpoint, {"limit": "100", **({"after": after} if after else {})}), "/batches"
        )
        page = list(_list_items(reply))
        found += [_to_state(one) for one in page if (one.get("metadata") or {}).get(MARKER_KEY) == batch.marker]
        is_last = not page or not batch.may_be(_to_time(page[-1].get("created_at")))
        if found or is_last or not reply.parse().get("has_more"):
            return found
        after = str(page[-1].get("id"))
    raise unread_error()


def _find_at_together(endpoint: Endpoint, batch: BatchInput) -> Steps[list[BatchState]]:
    """Return the batches whose input file has our marker as its name."""
    reply = yield get_request(endpoint, "/files")
    ids = {one.get("id") for one in _list_items(reply) if one.get("filename") == f"{batch.marker}.jsonl"}
    if not ids:
        return []
    reply = yield get_request(endpoint, "/batches")
    return [_to_state(one) for one in _list_items(reply) if one.get("input_file_id") in ids]


def _list_items(reply: HttpReply) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list, which some hosts send without anything around it."""
    if reply.body.lstrip()[:1] == b"[":
        document: Mapping[str, Any] = HttpReply({}, b'{"data":' + reply.body + b"}").parse()
    else:
        document = reply.parse()
    yield from (one for one in document.get("data") or () if isinstance(one, dict))


def _with_query(endpoint: Endpoint, query: Mapping[str, str]) -> Endpoint:
    return endpoint.replace(query={**endpoint.query, **query})


PROTOCOL = BatchProtocol(
    name="openai",
    max_requests=50_000,
    max_bytes=100_000_000,  # Groq's limit; OpenAI takes 200 MB
    submit=submit,
    build_state_request=build_state_request,
    parse_state=parse_state,
    read_results=read_results,
    build_cancel_request=build_cancel_request,
    find=find,
)
TOGETHER = PROTOCOL.replace(name="together", submit=_submit_to_together, find=_find_at_together)
