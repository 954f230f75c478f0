"""Batch APIs as pure functions: what is submitted, what states and results mean; recorded batches are replayed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from email import message_from_bytes
from typing import Any

import pytest

from llmctl.core.chat import ChatRequest, Message, collect_response
from llmctl.core.errors import PendingError, UnavailableError
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.wire import WIRES
from llmctl.wire.batches import (
    BATCHES,
    MAX_LIST_PAGES,
    BatchInput,
    BatchRequest,
    BatchResult,
    BatchState,
    HttpReply,
    iter_results,
    run_steps,
)
from tests.wire import recordings

MARKER = "llmctl-0123456789ab"
#: Protocol -> base URL and the wire of its requests.
HOSTS = {
    "openai": ("https://api.openai.com/v1", "openai-responses"),
    "together": ("https://api.together.xyz/v1", "openai-chat"),
    "anthropic": ("https://api.anthropic.com", "anthropic"),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta", "gemini"),
    "mistral": ("https://api.mistral.ai/v1", "openai-chat"),
    "xai": ("https://api.x.ai/v1", "openai-responses"),
}


def make_input(name: str, count: int = 2, model: str = "m-1") -> BatchInput:
    base, wire = HOSTS[name]
    endpoint = Endpoint(base, {"authorization": "Bearer k"})
    requests = []
    for number in range(count):
        messages = (Message.from_text("user", f"What is {number} + 2? Grüße"),)
        http = WIRES.load(wire).build_request(endpoint, ChatRequest(model, messages, stream=False))
        path = http.url.removeprefix(base)
        body = json.loads(http.body)
        requests.append(BatchRequest(f"{MARKER}-{number}", path.removeprefix("/v1"), model, body))
    return BatchInput(MARKER, requests, submitted_at="2026-08-19T14:44:00.000+00:00")


def endpoint_of(name: str) -> Endpoint:
    return Endpoint(HOSTS[name][0], {"authorization": "Bearer k"}, {"api-version": "1"} if name == "openai" else {})


class Host:
    """Replies in order, and keeps what was sent."""

    def __init__(self, *replies: Any) -> None:
        self._replies = list(replies)
        self.sent: list[HttpRequest] = []

    def __call__(self, request: HttpRequest) -> HttpReply:
        self.sent.append(request)
        reply = self._replies.pop(0)
        if isinstance(reply, HttpReply):
            return reply
        return HttpReply({}, reply if isinstance(reply, bytes) else json.dumps(reply).encode())

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(request.method, request.url) for request in self.sent]


def parse_form(request: HttpRequest) -> dict[str, Any]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + request.body).get_payload()
    assert isinstance(parts, list)
    return {str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True) for part in parts}


def results_of(name: str, state: BatchState, *replies: Any) -> list[BatchResult]:
    return list(iter_results(BATCHES.load(name).read_results(endpoint_of(name), state), Host(*replies)))


def texts(results: Iterable[BatchResult], wire: str) -> list[str]:
    read = [WIRES.load(one.wire or wire).parse_response(one.body, Dialect()) for one in results]
    return [collect_response(events).message.text for events in read]


# ---------------------------------------------------------------- submission


def test_openai_uploads_lines_and_creates_a_batch_with_the_marker() -> None:
    host = Host({"id": "file-1"}, {"id": "batch_1", "status": "validating"})
    state = run_steps(BATCHES.load("openai").submit(endpoint_of("openai"), make_input("openai")), host)
    assert (state.remote_id, state.status, state.is_ended) == ("batch_1", "running", False)
    assert host.lines == [
        ("POST", "https://api.openai.com/v1/files?api-version=1"),
        ("POST", "https://api.openai.com/v1/batches?api-version=1"),
    ]
    form = parse_form(host.sent[0])
    lines = [json.loads(line) for line in form["file"].decode().splitlines()]
    assert (form["purpose"], [line["custom_id"] for line in lines]) == (b"batch", [f"{MARKER}-0", f"{MARKER}-1"])
    assert {line["url"] for line in lines} == {"/v1/responses"}
    assert (lines[0]["method"], lines[0]["body"]["model"], "Grüße" in str(lines[0]["body"])) == ("POST", "m-1", True)
    assert json.loads(host.sent[1].body) == {
        "input_file_id": "file-1",
        "endpoint": "/v1/responses",
        "completion_window": "24h",
        "metadata": {"llmctl": MARKER},
    }


def test_together_has_no_metadata_but_the_name_of_the_file() -> None:
    host = Host({"id": "file-1"}, {"job": {"id": "b1", "status": "VALIDATING"}})
    protocol, endpoint = BATCHES.load("together"), endpoint_of("together")
    assert run_steps(protocol.submit(endpoint, make_input("together")), host).remote_id == "b1"
    assert parse_form(host.sent[0])["file_name"].decode() == f"{MARKER}.jsonl"
    files = {"data": [{"id": "file-1", "filename": f"{MARKER}.jsonl"}, {"id": "x", "filename": "y"}]}
    jobs = b'[{"id": "b1", "status": "IN_PROGRESS", "input_file_id": "file-1"}, {"id": "b2", "input_file_id": "x"}]'
    found = run_steps(protocol.find(endpoint, make_input("together")), Host(files, jobs))
    assert [(one.remote_id, one.status) for one in found] == [("b1", "running")]
    assert run_steps(protocol.find(endpoint, make_input("together")), Host({"data": []})) == []


@pytest.mark.parametrize("count", [2, 150])
def test_gemini_sends_small_batches_inline_and_others_as_a_file(count: int) -> None:
    started = HttpReply({"x-goog-upload-url": "https://up.example/1"}, b"{}")
    created = {"name": "batches/1", "metadata": {"state": "BATCH_STATE_PENDING"}}
    replies = [created] if count == 2 else [started, {"file": {"name": "files/1"}}, created]
    host = Host(*replies)
    state = run_steps(BATCHES.load("gemini").submit(endpoint_of("gemini"), make_input("gemini", count)), host)
    assert (state.remote_id, state.status) == ("batches/1", "running")
    assert host.sent[-1].url == ("https://generativelanguage.googleapis.com/v1beta/models/m-1:batchGenerateContent")
    batch = json.loads(host.sent[-1].body)["batch"]
    assert batch["displayName"] == MARKER
    if count == 2:
        first = batch["inputConfig"]["requests"]["requests"][0]
        assert (first["metadata"], first["request"]["contents"][0]["role"]) == ({"key": f"{MARKER}-0"}, "user")
        return
    assert batch["inputConfig"] == {"fileName": "files/1"}
    assert host.lines[:2] == [
        ("POST", "https://generativelanguage.googleapis.com/upload/v1beta/files"),
        ("POST", "https://up.example/1"),
    ]
    assert "authorization" not in host.sent[1].headers, "the address holds its own permission"
    lines = host.sent[1].body.splitlines()
    assert (len(lines), json.loads(lines[149])["key"]) == (150, f"{MARKER}-149")


def test_mistral_keeps_the_model_out_of_the_requests() -> None:
    host = Host({"id": "j1", "status": "QUEUED"})
    run_steps(BATCHES.load("mistral").submit(endpoint_of("mistral"), make_input("mistral")), host)
    body = json.loads(host.sent[0].body)
    assert (body["model"], body["endpoint"], body["metadata"]) == ("m-1", "/v1/chat/completions", {"llmctl": MARKER})
    assert ["model" in one["body"] for one in body["requests"]] == [False, False]


def test_xai_adds_requests_to_a_name() -> None:
    host = Host({"batch_id": "b1", "name": MARKER, "state": {}}, b"null")
    state = run_steps(BATCHES.load("xai").submit(endpoint_of("xai"), make_input("xai")), host)
    assert (state.remote_id, state.status) == ("b1", "running")
    assert json.loads(host.sent[0].body) == {"name": MARKER}
    line = json.loads(host.sent[1].body)["batch_requests"][0]
    assert (line["batch_request_id"], list(line["batch_request"])) == (f"{MARKER}-0", ["responses"])


# ---------------------------------------------------------------- states

OPENAI_STATES = {
    **{"validating": "running", "in_progress": "running", "finalizing": "running", "completed": "completed"},
    **{"failed": "failed", "expired": "expired", "cancelling": "cancelling", "cancelled": "cancelled"},
    **{"IN_PROGRESS": "running", "COMPLETED": "completed", "something_new": "running"},
}
GEMINI_STATES = {
    **{"BATCH_STATE_PENDING": "running", "BATCH_STATE_RUNNING": "running", "BATCH_STATE_SUCCEEDED": "completed"},
    **{"BATCH_STATE_FAILED": "failed", "BATCH_STATE_CANCELLED": "cancelled", "BATCH_STATE_EXPIRED": "expired"},
    **{"JOB_STATE_PARTIALLY_SUCCEEDED": "completed", "JOB_STATE_QUEUED": "running", "JOB_STATE_PAUSED": "running"},
}
MISTRAL_STATES = {
    **{"QUEUED": "running", "RUNNING": "running", "SUCCESS": "completed", "FAILED": "failed"},
    **{"TIMEOUT_EXCEEDED": "expired", "CANCELLATION_REQUESTED": "cancelling", "CANCELLED": "cancelled"},
}
ANTHROPIC_STATES = {
    ("in_progress", ""): "running",
    ("canceling", ""): "cancelling",
    ("ended", "succeeded"): "completed",
    ("ended", "canceled"): "cancelled",
    ("ended", "expired"): "expired",
}


@pytest.mark.parametrize(
    ("name", "document", "status"),
    [
        *(("openai", {"id": "b", "status": word}, status) for word, status in OPENAI_STATES.items()),
        *(("gemini", {"name": "b", "metadata": {"state": word}}, status) for word, status in GEMINI_STATES.items()),
        *(("mistral", {"id": "b", "status": word}, status) for word, status in MISTRAL_STATES.items()),
        *(
            ("anthropic", {"id": "b", "processing_status": word, "request_counts": {count: 1}}, status)
            for (word, count), status in ANTHROPIC_STATES.items()
        ),
        ("xai", {"batch_id": "b", "state": {"num_requests": 2, "num_pending": 1}}, "running"),
        ("xai", {"batch_id": "b", "state": {"num_requests": 0, "num_pending": 0}}, "running"),
        ("xai", {"batch_id": "b", "state": {"num_requests": 2, "num_success": 1, "num_error": 1}}, "completed"),
        ("xai", {"batch_id": "b", "state": {"num_requests": 0}, "cancel_time": "x"}, "cancelled"),
        ("xai", {"batch_id": "b", "state": {"num_requests": 2, "num_pending": 1}, "cancel_time": "x"}, "cancelling"),
        ("xai", {"batch_id": "b", "state": {"num_requests": 2, "num_cancelled": 1}, "cancel_time": "x"}, "cancelled"),
    ],
)
def test_states_of_providers_mean_one_of_ours(name: str, document: dict[str, Any], status: str) -> None:
    assert BATCHES.load(name).parse_state(HttpReply({}, json.dumps(document).encode())).status == status


def test_batch_that_failed_as_a_whole_says_why() -> None:
    errors = {"data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": 3}]}
    document = {"id": "b", "status": "failed", "errors": errors, "expires_at": 1787236874}
    state = BATCHES.load("openai").parse_state(HttpReply({}, json.dumps(document).encode()))
    assert (state.error, state.expires_at) == ("Enqueued token limit reached (line 3)", "2026-08-20T14:41:14.000+00:00")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
@pytest.mark.parametrize("name", ["openai", "gemini", "xai"])
def test_answer_that_is_no_batch_is_an_error(name: str, body: bytes) -> None:
    with pytest.raises(UnavailableError):
        BATCHES.load(name).parse_state(HttpReply({}, body))


# ---------------------------------------------------------------- results


def openai_line(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "custom_id": f"{MARKER}-{number}", "response": None, "error": None, **more}


def test_results_come_from_two_files_in_any_order() -> None:
    body = {"id": "c", "choices": [{"index": 0, "message": {"content": "4"}, "finish_reason": "stop"}]}
    output = [
        openai_line(3, response={"status_code": 200, "body": body}),
        openai_line(0, response={"status_code": 429, "body": {"error": {"message": "slow down"}}}),
    ]
    errors = [
        openai_line(1, error={"code": "batch_expired", "message": "expired"}),
        openai_line(2, error={"code": "invalid_request", "message": "bad"}),
        {"no": "custom id"},
    ]
    state = BatchState("b", "expired", "expired", files={"output": "f1", "error": "f2"})
    files = [b"\n".join(json.dumps(line).encode() for line in lines) + b"\n\nnot json\n" for lines in (output, errors)]
    found = results_of("openai", state, *files)
    assert [(one.custom_id[-1], one.kind, one.status_code) for one in found] == [
        ("3", "answered", 200),
        ("0", "failed", 429),
        ("1", "unsent", None),
        ("2", "failed", None),
    ]
    assert texts(found[:1], "openai-chat") == ["4"]
    assert "bad" in found[3].body.decode()
    assert results_of("openai", BatchState("b", "failed", "failed")) == []


def test_gemini_results_stand_in_one_of_three_places_or_in_a_file() -> None:
    answer = {"candidates": [{"content": {"parts": [{"text": "4"}]}, "finishReason": "STOP"}]}
    lines = [{"response": answer, "metadata": {"key": "a"}}, {"error": {"code": 4}, "metadata": {"key": "b"}}]
    output = {"inlinedResponses": {"inlinedResponses": lines}}
    places: list[dict[str, Any]] = [
        {"metadata": {"state": "BATCH_STATE_SUCCEEDED", "output": output}},
        {"metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "response": output},
        {"metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "response": {"output": output}},
    ]
    protocol = BATCHES.load("gemini")
    for place in places:
        state = protocol.parse_state(HttpReply({}, json.dumps({"name": "batches/1", **place}).encode()))
        found = results_of("gemini", state)
        assert [(one.custom_id, one.kind) for one in found] == [("a", "answered"), ("b", "unsent")]
        assert texts(found[:1], "gemini") == ["4"]
    document = {"name": "batches/1", "metadata": {"state": "BATCH_STATE_SUCCEEDED"}}
    state = protocol.parse_state(
        HttpReply({}, json.dumps(document | {"response": {"responsesFile": "files/9"}}).encode())
    )
    host = Host(b'{"key": "a", "response": ' + json.dumps(answer).encode() + b'}\n{"key": "b", "error": {"code": 3}}\n')
    found = list(iter_results(protocol.read_results(endpoint_of("gemini"), state), host))
    assert [(one.custom_id, one.kind) for one in found] == [("a", "answered"), ("b", "failed")]
    assert host.lines == [
        ("GET", "https://generativelanguage.googleapis.com/download/v1beta/files/9:download?alt=media")
    ]


def test_xai_results_come_in_pages() -> None:
    def page(number: int, **more: Any) -> dict[str, Any]:
        body = {
            "chat_get_completion": {"choices": [{"index": 0, "message": {"content": "4"}, "finish_reason": "stop"}]}
        }
        return {"results": [{"batch_request_id": str(number), "batch_result": {"response": body}}], **more}

    last = {"results": [{"batch_request_id": "2", "batch_result": {"error": {"message": "no"}}}]}
    host = Host(page(0, pagination_token="t1"), page(1, pagination_token="t2"), last)
    state = BatchState("b", "completed", "")
    found = list(iter_results(BATCHES.load("xai").read_results(endpoint_of("xai"), state), host))
    assert [(one.custom_id, one.kind, one.wire) for one in found] == [
        ("0", "answered", "openai-chat"),
        ("1", "answered", "openai-chat"),
        ("2", "failed", None),
    ]
    assert host.lines[2][1].endswith("/batches/b/results?limit=100&pagination_token=t2")


def test_anthropic_results_are_read_from_our_own_host() -> None:
    """The answer names a URL; a key must not follow it."""
    lines = [
        {"custom_id": "a", "result": {"type": "errored", "error": {"error": {"message": "overloaded"}}}},
        {"custom_id": "b", "result": {"type": "expired"}},
        {"custom_id": "c", "result": {"type": "canceled"}},
    ]
    document = {"id": "mb", "processing_status": "ended", "results_url": "https://evil.example/x"}
    protocol = BATCHES.load("anthropic")
    state = protocol.parse_state(HttpReply({}, json.dumps(document).encode()))
    host = Host(b"\n".join(json.dumps(line).encode() for line in lines))
    found = list(iter_results(protocol.read_results(endpoint_of("anthropic"), state), host))
    assert [one.kind for one in found] == ["failed", "unsent", "unsent"]
    assert host.lines == [("GET", "https://api.anthropic.com/v1/messages/batches/mb/results")]
    assert host.sent[0].headers["anthropic-version"] == "2023-06-01"


# ---------------------------------------------------------------- finding a batch again


def listed(name: str, marker: str) -> Any:
    match name:
        case "openai":
            return {"data": [{"id": "other", "metadata": None}, {"id": "b", "metadata": {"llmctl": marker}}]}
        case "gemini":
            return {"operations": [{"name": "b", "metadata": {"displayName": marker}}]}
        case "mistral":
            return {"data": [{"id": "b", "metadata": {"llmctl": marker}}]}
    return {"batches": [{"batch_id": "b", "name": marker}]}


@pytest.mark.parametrize("name", ["openai", "gemini", "mistral", "xai"])
def test_batch_is_found_by_its_marker(name: str) -> None:
    find = BATCHES.load(name).find
    found = run_steps(find(endpoint_of(name), make_input(name)), Host(listed(name, MARKER)))
    assert [one.remote_id for one in found] == ["b"]
    assert run_steps(find(endpoint_of(name), make_input(name)), Host(listed(name, "llmctl-other"))) == []


#: What says on a page of a list that there is another one.
MORE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "openai": ("data", {"has_more": True}),
    "anthropic": ("data", {"has_more": True}),
    "gemini": ("operations", {"nextPageToken": "t"}),
    "mistral": ("data", {}),
    "xai": ("batches", {"pagination_token": "t"}),
}


@pytest.mark.parametrize("name", MORE)
def test_batch_is_looked_for_on_every_page(name: str) -> None:
    """A list that never ends does not prove that it is not there."""
    key, more = MORE[name]
    full = {key: [{"id": f"b{number}", "name": "x"} for number in range(100)], **more}
    find, count = BATCHES.load(name).find, MAX_LIST_PAGES
    if name != "anthropic":
        host = Host(full, listed(name, MARKER))
        assert [one.remote_id for one in run_steps(find(endpoint_of(name), make_input(name)), host)] == ["b"]
        assert host.sent[0].url != host.sent[1].url
    host = Host(*[full] * count)
    with pytest.raises(PendingError):
        run_steps(find(endpoint_of(name), make_input(name)), host)
    assert len(host.sent) == count


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_batches_before_the_submission_are_not_looked_through(name: str) -> None:
    host = Host({"data": [{"id": "b", "created_at": "2026-08-18T14:45:00+00:00"}], "has_more": True})
    assert run_steps(BATCHES.load(name).find(endpoint_of(name), make_input(name)), host) == []


def test_xai_batch_without_requests_was_not_submitted() -> None:
    empty = {"batches": [{"batch_id": "b", "name": MARKER, "state": {"num_requests": 0}}]}
    assert run_steps(BATCHES.load("xai").find(endpoint_of("xai"), make_input("xai")), Host(empty)) == []


def anthropic_batch(id: str, status: str, count: int, created: str) -> dict[str, Any]:
    counts = {"processing": count} if status != "ended" else {"succeeded": count}
    return {"id": id, "processing_status": status, "request_counts": counts, "created_at": created}


def test_anthropic_batch_is_certain_only_by_its_results() -> None:
    later, earlier = "2026-08-19T14:45:00+00:00", "2026-08-18T14:45:00+00:00"
    batches = [
        anthropic_batch("too old", "in_progress", 2, earlier),
        anthropic_batch("too many", "in_progress", 3, later),
        anthropic_batch("maybe", "in_progress", 2, later),
        anthropic_batch("other", "ended", 2, later),
        anthropic_batch("mine", "ended", 2, later),
    ]
    find = BATCHES.load("anthropic").find
    replies = [b'{"custom_id": "x-1"}\n', f'{{"custom_id": "{MARKER}-1"}}\n'.encode()]
    found = run_steps(find(endpoint_of("anthropic"), make_input("anthropic")), Host({"data": batches}, *replies))
    assert [one.remote_id for one in found] == ["mine"]
    found = run_steps(find(endpoint_of("anthropic"), make_input("anthropic")), Host({"data": batches[:4]}, replies[0]))
    assert [one.remote_id for one in found] == ["maybe"]
    assert run_steps(find(endpoint_of("anthropic"), make_input("anthropic")), Host({"data": batches[:2]})) == []


# ---------------------------------------------------------------- recorded batches


def recorded(api: str) -> list[recordings.Exchange]:
    groups = recordings.group_exchanges(recordings.load_exchanges(api))
    return max(groups.values(), key=len, default=[])


def reply_of(exchange: recordings.Exchange) -> HttpReply:
    response = exchange["response"]
    return HttpReply(response["headers"], response["body"].encode())


RECORDED: Mapping[str, tuple[str, str, Callable[[list[HttpReply]], list[HttpReply]]]] = {
    # api, wire of the answers, replies to the submission
    "anthropic": ("anthropic-batches", "anthropic", lambda replies: replies[:1]),
    "mistral": ("mistral-batches", "openai-chat", lambda replies: replies[:1]),
    "xai": ("xai-batches", "openai-responses", lambda replies: replies[:2]),
}


@recordings.needs_recordings
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_batch_is_submitted_watched_and_read(name: str) -> None:
    api, wire, of_submission = RECORDED[name]
    exchanges = recorded(api)
    replies = [reply_of(one) for one in exchanges]
    assert len(replies) >= 4
    protocol, endpoint = BATCHES.load(name), endpoint_of(name)
    host = Host(*of_submission(replies))
    submitted = run_steps(protocol.submit(endpoint, make_input(name)), host)
    assert host.lines == [(one["request"]["method"], one["request"]["url"]) for one in exchanges[: len(host.sent)]]
    states = [protocol.parse_state(reply) for reply in replies[len(host.sent) : -1]]
    assert [state.remote_id for state in states] == [submitted.remote_id] * len(states)
    assert [state.status for state in (submitted, states[-1])] == ["running", "completed"]
    assert states[-1].counts == {"total": 2, "completed": 2, "failed": 0}
    found = results_of(name, states[-1], replies[-1])
    assert [(one.custom_id, one.kind) for one in found] == [("0", "answered"), ("1", "answered")]
    assert texts(found, wire) == ["4", "Jupiter"]


@recordings.needs_recordings
def test_recorded_batch_of_openai_is_submitted_watched_and_read() -> None:
    groups = recordings.group_exchanges(
        recordings.load_exchanges("openai-files") + recordings.load_exchanges("openai-batches")
    )
    (exchanges,) = [group for group in groups.values() if len(group) == 6]
    replies = [reply_of(one) for one in exchanges]
    protocol, endpoint = BATCHES.load("openai"), Endpoint(HOSTS["openai"][0])
    host = Host(*replies[:2])
    submitted = run_steps(protocol.submit(endpoint, make_input("openai")), host)
    assert host.lines == [(one["request"]["method"], one["request"]["url"]) for one in exchanges[:2]]
    sent, was_sent = json.loads(host.sent[1].body), exchanges[1]["request"]["json"]
    assert {name: sent[name] for name in was_sent} == was_sent
    states = [protocol.parse_state(reply) for reply in replies[2:5]]
    assert [state.status for state in (submitted, *states)] == ["running", "running", "running", "completed"]
    assert states[-1].counts == {"total": 2, "completed": 2, "failed": 0}
    host = Host(replies[5])
    found = list(iter_results(protocol.read_results(endpoint, states[-1]), host))
    assert host.lines == [("GET", exchanges[5]["request"]["url"])]
    assert texts(found, "openai-responses") == ["4", "Jupiter"]


@recordings.needs_recordings
def test_recorded_batch_is_cancelled() -> None:
    groups = recordings.group_exchanges(recordings.load_exchanges("anthropic-batches")).values()
    (exchanges,) = [group for group in groups if len(group) == 2]
    protocol, endpoint = BATCHES.load("anthropic"), endpoint_of("anthropic")
    state = protocol.parse_state(reply_of(exchanges[0]))
    cancel = protocol.build_cancel_request(endpoint, state.remote_id)
    assert (cancel.method, cancel.url) == ("POST", exchanges[1]["request"]["url"])
    assert protocol.parse_state(reply_of(exchanges[1])).status == "cancelling"


# ---------------------------------------------------------------- official types


def test_official_types_accept_what_is_submitted() -> None:
    pydantic = pytest.importorskip("pydantic")
    anthropic = pytest.importorskip("anthropic.types.messages.batch_create_params")
    openai = pytest.importorskip("openai.types.batch_create_params")
    genai = pytest.importorskip("google.genai.types")
    host = Host({"id": "file-1"}, {"id": "b"})
    run_steps(BATCHES.load("openai").submit(endpoint_of("openai"), make_input("openai")), host)
    pydantic.TypeAdapter(openai.BatchCreateParams).validate_python(json.loads(host.sent[1].body), strict=True)
    host = Host({"id": "b"})
    run_steps(BATCHES.load("anthropic").submit(endpoint_of("anthropic"), make_input("anthropic")), host)
    sent = json.loads(host.sent[0].body)
    assert set(sent) == {"requests"}
    pydantic.TypeAdapter(anthropic.Request).validate_python(sent["requests"][0])
    host = Host({"name": "b"})
    run_steps(BATCHES.load("gemini").submit(endpoint_of("gemini"), make_input("gemini")), host)
    one = json.loads(host.sent[0].body)["batch"]["inputConfig"]["requests"]["requests"][0]
    genai.InlinedRequest.model_validate({"contents": one["request"]["contents"], "metadata": one["metadata"]})


def test_official_types_read_the_answers_as_we_do() -> None:
    openai = pytest.importorskip("openai.types")
    document = {
        **{"id": "b", "object": "batch", "endpoint": "/v1/responses", "input_file_id": "f", "status": "completed"},
        **{"completion_window": "24h", "created_at": 1, "request_counts": {"total": 3, "completed": 2, "failed": 1}},
    }
    official = openai.Batch.model_validate(document)
    ours = BATCHES.load("openai").parse_state(HttpReply({}, json.dumps(document).encode()))
    assert (ours.remote_id, ours.status, ours.counts["failed"]) == (
        official.id,
        official.status,
        official.request_counts.failed,
    )
