"""Message batches of Anthropic: requests in the body, results as JSON lines once all have ended.

https://docs.anthropic.com/en/api/creating-message-batches
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_values import dumps
from llmctl.wire import batches
from llmctl.wire.anthropic.request import VERSION
from llmctl.wire.batches import (
    BatchInput,
    BatchProtocol,
    BatchResult,
    BatchState,
    BatchStatus,
    HttpReply,
    Results,
    Steps,
    parse_lines,
)

_PATH = "/messages/batches"
#: Counts of requests that have ended, by how.
_ENDED = ("succeeded", "errored", "canceled", "expired")


def submit(endpoint: Endpoint, batch: BatchInput) -> Steps[BatchState]:
    requests = [{"custom_id": one.custom_id, "params": one.body} for one in batch.requests]
    reply = yield _post(endpoint, "", dumps({"requests": requests}).encode("utf-8", "replace"))
    return parse_state(reply)


def build_state_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return _get(endpoint, f"/{remote_id}")


def build_cancel_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return _post(endpoint, f"/{remote_id}/cancel")


def _get(endpoint: Endpoint, path: str = "") -> HttpRequest:
    return batches.get_request(_with_version(endpoint), f"{_prefix(endpoint)}{_PATH}{path}")


def _post(endpoint: Endpoint, path: str = "", body: bytes = b"{}") -> HttpRequest:
    return batches.post_request(_with_version(endpoint), f"{_prefix(endpoint)}{_PATH}{path}", body)


def _with_version(endpoint: Endpoint) -> Endpoint:
    return endpoint.replace(headers={"anthropic-version": VERSION, **endpoint.headers})


def _prefix(endpoint: Endpoint) -> str:
    return "" if endpoint.base_url.rstrip("/").endswith("/v1") else "/v1"


def parse_state(reply: HttpReply) -> BatchState:
    return _to_state(reply.parse())


def _to_state(document: Mapping[str, Any]) -> BatchState:
    """Return the state; an ended batch that was cancelled or expired has answers, too."""
    counts = {name: int((document.get("request_counts") or {}).get(name) or 0) for name in ("processing", *_ENDED)}
    status: BatchStatus = "running"
    if document.get("processing_status") == "canceling":
        status = "cancelling"
    elif document.get("processing_status") == "ended":
        status = "cancelled" if counts["canceled"] else "expired" if counts["expired"] else "completed"
    return BatchState(
        remote_id=str(document.get("id", "")),
        status=status,
        remote_status=str(document.get("processing_status", "")),
        counts={"total": sum(counts.values()), "completed": counts["succeeded"], "failed": counts["errored"]},
        files={"output": str(document["results_url"])} if document.get("results_url") else {},
        expires_at=_to_time(document.get("expires_at")),
        created_at=_to_time(document.get("created_at")),
    )


def _to_time(value: Any) -> str | None:
    try:
        return clock.format(clock.parse(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def read_results(endpoint: Endpoint, state: BatchState) -> Results:
    """Read the results, below our own base URL: a key must not follow a URL in an answer to another host."""
    reply = yield _get(endpoint, f"/{state.remote_id}/results")
    assert reply
    for line in parse_lines(reply.body):
        if "custom_id" in line:
            yield _parse_result(line)


def _parse_result(line: Mapping[str, Any]) -> BatchResult:
    result = line.get("result") or {}
    custom_id = str(line["custom_id"])
    match result.get("type"):
        case "succeeded":
            return BatchResult(custom_id, "answered", dumps(result.get("message")).encode("utf-8", "replace"), 200)
        case "canceled" | "expired":
            return BatchResult(custom_id, "unsent")
    return BatchResult(custom_id, "failed", dumps(result.get("error") or result).encode("utf-8", "replace"))


def find(endpoint: Endpoint, batch: BatchInput) -> Steps[list[BatchState]]:
    """Return the batches that may be that input: nothing but the results names the marker.

    A running one may be it where it was received since then with as many requests.
    """

    def is_recent(document: Mapping[str, Any]) -> bool:
        return batch.may_be(_to_time(document.get("created_at")))

    listed = yield from batches.search_list(
        _with_version(endpoint),
        f"{_prefix(endpoint)}{_PATH}",
        {"limit": "100"},
        "data",
        is_recent,
        lambda page, items, number: (
            {"after_id": str(items[-1].get("id"))} if page.get("has_more") and items and is_recent(items[-1]) else {}
        ),
        is_unique=False,
    )
    states = map(_to_state, listed)
    possible = [one for one in states if one.counts.get("total") == len(batch.requests)]
    found = []
    for state in possible:
        if not state.is_ended:
            found.append(state)
            continue
        reply = yield _get(endpoint, f"/{state.remote_id}/results")
        first = next(parse_lines(reply.body), {})
        if str(first.get("custom_id", "")).startswith(batch.marker):
            return [state]
    return found


PROTOCOL = BatchProtocol(
    name="anthropic",
    max_requests=100_000,
    max_bytes=256_000_000,
    submit=submit,
    build_state_request=build_state_request,
    parse_state=parse_state,
    read_results=read_results,
    build_cancel_request=build_cancel_request,
    find=find,
    keeps_marker=False,
)
