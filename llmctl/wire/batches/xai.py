"""Batches of xAI: a name, to which requests are added, and pages of results. It has counts instead of a status.

https://docs.x.ai/docs/guides/batch-api
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.stored_values import dumps
from llmctl.wire.batches import (
    BatchInput,
    BatchProtocol,
    BatchRequest,
    BatchResult,
    BatchState,
    BatchStatus,
    HttpReply,
    Results,
    Steps,
    get_request,
    post_request,
    search_list,
)

#: Path of a request -> its kind, and kind of an answer -> the wire that reads it: xAI answers a request of one kind
#: with an answer of the other.
_KINDS = {"/chat/completions": "chat_get_completion", "/responses": "responses"}
_WIRES = {"chat_get_completion": "openai-chat", "responses": "openai-responses", "response": "openai-responses"}
#: The most bytes that are added with one call.
_MAX_CALL_BYTES = 20_000_000
_MAX_PAGES = 10_000


def submit(endpoint: Endpoint, batch: BatchInput) -> Steps[BatchState]:
    """Create the batch and add the requests. Requests cost something once they are added: all of one batch or none.

    A call that fails leaves a batch that ``find`` returns with fewer requests.
    """
    reply = yield post_request(endpoint, "/batches", dumps({"name": batch.marker}).encode())
    state = parse_state(reply)
    for part in _split(batch.requests):
        body = dumps({"batch_requests": part}).encode("utf-8", "replace")
        yield post_request(endpoint, f"/batches/{state.remote_id}/requests", body)
    return state


def _split(requests: Sequence[BatchRequest]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    size = 0
    for one in requests:
        line = {"batch_request_id": one.custom_id, "batch_request": {_KINDS[one.path]: one.body}}
        length = len(dumps(line))
        if part and size + length > _MAX_CALL_BYTES:
            yield part
            part, size = [], 0
        part.append(line)
        size += length
    if part:
        yield part


def build_state_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return get_request(endpoint, f"/batches/{remote_id}")


def build_cancel_request(endpoint: Endpoint, remote_id: str) -> HttpRequest:
    return post_request(endpoint, f"/batches/{remote_id}:cancel")


def parse_state(reply: HttpReply) -> BatchState:
    return _to_state(reply.parse())


def _to_state(document: Mapping[str, Any]) -> BatchState:
    if not document.get("batch_id"):
        raise UnavailableError("the provider's answer about a batch has no id", reason="not_json")
    state = document.get("state") or {}
    total, pending, succeeded, failed, cancelled = (
        int(state.get(f"num_{name}") or 0) for name in ("requests", "pending", "success", "error", "cancelled")
    )
    is_cancelled = bool(document.get("cancel_time"))
    status: BatchStatus = "cancelling" if is_cancelled else "running"
    if (total or is_cancelled) and not pending:
        status = "cancelled" if is_cancelled or cancelled else "completed"
    return BatchState(
        remote_id=str(document["batch_id"]),
        status=status,
        remote_status=f"{pending} pending",
        counts={"total": total, "completed": succeeded, "failed": failed},
        error=document.get("cancel_by_xai_message") or None,
        expires_at=_to_time(document.get("expire_time")),
        created_at=_to_time(document.get("create_time")),
    )


def _to_time(value: Any) -> str | None:
    try:
        return clock.format(clock.parse(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def read_results(endpoint: Endpoint, state: BatchState) -> Results:
    """Read all pages of results."""
    query = {"limit": "100"}
    for _ in range(_MAX_PAGES):
        reply = yield get_request(
            endpoint.replace(query={**endpoint.query, **query}), f"/batches/{state.remote_id}/results"
        )
        assert reply
        document = reply.parse()
        for line in document.get("results") or ():
            if isinstance(line, Mapping) and "batch_request_id" in line:
                yield _parse_result(line)
        token = document.get("pagination_token")
        if not token:
            return
        query["pagination_token"] = str(token)


def _parse_result(line: Mapping[str, Any]) -> BatchResult:
    custom_id = str(line["batch_request_id"])
    result = line.get("batch_result") or {}
    response = result.get("response") if isinstance(result, Mapping) else None
    for kind, wire in _WIRES.items():
        if isinstance(response, Mapping) and response.get(kind) is not None:
            return BatchResult(custom_id, "answered", dumps(response[kind]).encode("utf-8", "replace"), 200, wire)
    error = (result.get("error") if isinstance(result, Mapping) else None) or line.get("error_message") or result
    if isinstance(line.get("state"), str) and "cancel" in line["state"].lower():
        return BatchResult(custom_id, "unsent")
    return BatchResult(custom_id, "failed", dumps({"error": error}).encode("utf-8", "replace"))


def find(endpoint: Endpoint, batch: BatchInput) -> Steps[list[BatchState]]:
    """Return the batches with our marker as their name. One without requests was created, but not submitted."""
    found = yield from search_list(
        endpoint,
        "/batches",
        {"limit": "100"},
        "batches",
        lambda one: one.get("name") == batch.marker and not _is_empty(one),
        lambda page, items, number: (
            {"pagination_token": str(page["pagination_token"])} if page.get("pagination_token") else {}
        ),
    )
    return [_to_state(one) for one in found]


def _is_empty(document: Mapping[str, Any]) -> bool:
    state = document.get("state")
    return isinstance(state, Mapping) and not state.get("num_requests")


PROTOCOL = BatchProtocol(
    name="xai",
    max_requests=50_000,
    max_bytes=200_000_000,
    submit=submit,
    build_state_request=build_state_request,
    parse_state=parse_state,
    read_results=read_results,
    build_cancel_request=build_cancel_request,
    find=find,
    takes_requests=lambda request: request.url.partition("?")[0].endswith("/requests"),
)
