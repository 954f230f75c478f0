"""Batches of Gemini: requests inline or as an uploaded file, results in the batch or as a file.

https://ai.google.dev/gemini-api/docs/batch-api
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_values import dumps
from llmctl.wire.batches import (
    BatchInput,
    BatchProtocol,
    BatchResult,
    BatchState,
    BatchStatus,
    HttpReply,
    Results,
    Steps,
    get_request,
    parse_lines,
    post_request,
    search_list,
)

#: The end of ``BATCH_STATE_…``, which some versions write as ``JOB_STATE_…``.
_STATUSES: Mapping[str, BatchStatus] = {
    "SUCCEEDED": "completed",
    "PARTIALLY_SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "CANCELLING": "cancelling",
    "EXPIRED": "expired",
}
#: Larger batches go as a file: answers that are too large to stand in the batch cannot be fetched.
_MAX_INLINE, _MAX_INLINE_BYTES = 100, 10_000_000
_VERSION = re.compile(r"/(v1\w*)$")


def submit(endpoint: Endpoint, batch: BatchInput) -> Steps[BatchState]:
    """Create the batch, inline or from an uploaded file."""
    inline = [{"request": one.body, "metadata": {"key": one.custom_id}} for one in batch.requests]
    source: dict[str, Any] = {"requests": {"requests": inline}}
    if len(inline) > _MAX_INLINE or len(dumps(source)) > _MAX_INLINE_BYTES:
        source = {"fileName": (yield from _upload(endpoint, batch))}
    body = {"batch": {"displayName": batch.marker, "inputConfig": source}}
    path = re.sub(r":\w+$", ":batchGenerateContent", batch.path)
    reply = yield post_request(endpoint, path, dumps(body).encode("utf-8", "replace"))
    return parse_state(reply)


def _upload(endpoint: Endpoint, batch: BatchInput) -> Steps[str]:
    """Upload the lines and return the name of the file."""
    lines = ({"key": one.custom_id, "request": one.body} for one in batch.requests)
    data = b"".join(dumps(line).encode("utf-8", "replace") + b"\n" for line in lines)
    start = post_request(_beside(endpoint, "upload"), "/files", dumps({"file": {"displayName": batch.marker}}).encode())
    options = {
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": str(len(data)),
        "x-goog-upload-header-content-type": "application/jsonl",
    }
    reply = yield start.replace(headers={**start.headers, **options})
    url = reply.headers.get("x-goog-upload-url")
    if not url:
        raise UnavailableError("the provider gave no address to upload the batch to", reason="not_json")
    headers = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
    reply = yield HttpRequest("POST", url, headers, data)
    return str((reply.parse().get("file") or {}).get("name", ""))


def _beside(endpoint: Endpoint, name: str) -> Endpoint:
    """Return the endpoint of uploads or downloads: its paths begin with that name."""
    return endpoint.replace(base_url=_VERSION.sub(rf"/{name}/\1", endpoint.base_url.rstrip("/")))


def build_state_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return get_request(endpoint, f"/{remote_id}")


def build_cancel_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return post_request(endpoint, f"/{remote_id}:cancel")


def parse_state(reply: HttpReply) -> BatchState:
    return _to_state(reply.parse())


def _to_state(document: Mapping[str, Any]) -> BatchState:
    metadata = document.get("metadata") or document
    if not document.get("name"):
        raise UnavailableError("the provider's answer about a batch has no name", reason="not_json")
    remote_status = str(metadata.get("state") or document.get("state") or "")
    status = _STATUSES.get(re.sub(r"^(BATCH|JOB)_STATE_", "", remote_status), "running")
    error = document.get("error")
    if error and status == "running":
        status = "failed"
    stats = metadata.get("batchStats") or {}
    output = _find_output(document)
    return BatchState(
        remote_id=str(document["name"]),
        status=status,
        remote_status=remote_status,
        counts={
            name: int(stats.get(field) or 0)
            for name, field in (
                ("total", "requestCount"),
                ("completed", "successfulRequestCount"),
                ("failed", "failedRequestCount"),
            )
        },
        files={"output": str(output["responsesFile"])} if output.get("responsesFile") else {},
        error=str(error.get("message")) if isinstance(error, Mapping) else None,
        created_at=_to_time(metadata.get("createTime")),
        inline=list(_iter_inline(output)),
    )


def _find_output(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the output: it stands in the metadata, in the response of the operation, or in the batch itself."""
    places = [(document.get("metadata") or {}).get("output"), document.get("response"), document.get("output")]
    for place in places:
        output = place.get("output", place) if isinstance(place, Mapping) else {}
        if output.get("inlinedResponses") or output.get("responsesFile"):
            found: Mapping[str, Any] = output
            return found
    return {}


def _iter_inline(output: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    inlined = output.get("inlinedResponses") or ()
    if isinstance(inlined, Mapping):
        inlined = inlined.get("inlinedResponses") or ()
    yield from (one for one in inlined if isinstance(one, Mapping))


def _to_time(value: Any) -> str | None:
    try:
        return clock.format(clock.parse(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def read_results(endpoint: Endpoint, state: BatchState) -> Results:
    """Read the results that stand in the batch, or in its file."""
    if not state.inline and not state.files:
        reply = yield build_state_request(endpoint, state.remote_id)
        assert reply
        state = parse_state(reply)
    for line in state.inline:
        if (result := _parse_result(line, (line.get("metadata") or {}).get("key"))) is not None:
            yield result
    if "output" in state.files:
        download = _beside(endpoint, "download")
        query = {**endpoint.query, "alt": "media"}
        reply = yield get_request(download.replace(query=query), f"/{state.files['output']}:download")
        assert reply
        for found in parse_lines(reply.body):
            if (result := _parse_result(found, found.get("key"))) is not None:
                yield result


def _parse_result(line: Mapping[str, Any], key: Any) -> BatchResult | None:
    if not key:
        return None
    if isinstance(line.get("response"), Mapping):
        return BatchResult(str(key), "answered", dumps(line["response"]).encode("utf-8", "replace"), 200)
    error = line.get("error") or line.get("status") or {}
    # google.rpc.Code: 1 is CANCELLED, 4 is DEADLINE_EXCEEDED.
    if isinstance(error, Mapping) and error.get("code") in (1, 4):
        return BatchResult(str(key), "unsent")
    return BatchResult(str(key), "failed", dumps({"error": error}).encode("utf-8", "replace"))


def find(endpoint: Endpoint, batch: BatchInput) -> Steps[list[BatchState]]:
    """Return the batches with our marker as their name."""
    found = yield from search_list(
        endpoint,
        "/batches",
        {"pageSize": "100"},
        "operations",
        lambda one: (one.get("metadata") or one).get("displayName") == batch.marker,
        lambda page, items, number: {"pageToken": str(page["nextPageToken"])} if page.get("nextPageToken") else {},
    )
    return [_to_state(one) for one in found]


PROTOCOL = BatchProtocol(
    name="gemini",
    max_requests=200_000,
    max_bytes=2_000_000_000,
    submit=submit,
    build_state_request=build_state_request,
    parse_state=parse_state,
    read_results=read_results,
    build_cancel_request=build_cancel_request,
    find=find,
)
