"""The batch APIs of providers as records of pure functions: many requests at once, answered within a day at half price.

What takes several calls (upload, create) is a generator that yields requests and gets replies: values in, values out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from llmctl.core import clock
from llmctl.core.errors import PendingError, UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.registry import Registry
from llmctl.core.values import Value
from llmctl.wire.requests import JSON, build_url

T = TypeVar("T")
#: Seconds by which the clocks of this machine and the provider may differ.
_CLOCK_TOLERANCE_S = 300.0
#: Pages of a list of batches that are looked through.
MAX_LIST_PAGES = 50

#: Statuses of a batch; the last four are final. ``cancelled`` and ``expired`` ones have the answers so far.
BatchStatus = Literal["running", "cancelling", "completed", "failed", "expired", "cancelled"]
#: ``unsent``: the batch ended before it; it was not billed and can be sent again.
ResultKind = Literal["answered", "failed", "unsent"]


class BatchRequest(Value):
    """One request of a batch: the path below the base URL, and the body that the same call would send at once."""

    custom_id: str
    path: str
    model: str
    body: Mapping[str, Any]


class BatchInput(Value):
    """What is submitted together: requests to one path and one model. ``marker`` finds it again after a crash."""

    marker: str
    requests: Sequence[BatchRequest]
    #: When it was going to be submitted, as stored times are.
    submitted_at: str = ""
    #: Hours until what is unfinished expires, where the provider lets one choose.
    window_hours: int = 24

    def may_be(self, created_at: str | None) -> bool:
        """Whether a batch that the provider received at that time may be this one; None: unknown."""
        return not created_at or created_at >= clock.add_seconds(self.submitted_at, -_CLOCK_TOLERANCE_S)

    @property
    def path(self) -> str:
        return self.requests[0].path

    @property
    def model(self) -> str:
        return self.requests[0].model


class BatchState(Value):
    """A batch at the provider."""

    remote_id: str
    status: BatchStatus
    #: The provider's own word for it.
    remote_status: str
    #: ``total``, ``completed`` and ``failed`` requests, as far as the provider says.
    counts: Mapping[str, int] = {}
    #: Ids of files: ``input``, ``output``, ``error``.
    files: Mapping[str, str] = {}
    error: str | None = None
    #: The provider's queue is full: it may take the same batch once others have ended.
    is_queue_full: bool = False
    expires_at: str | None = None
    #: When the provider received it, as it writes times.
    created_at: str | None = None
    #: Results that came with the state.
    inline: Sequence[Mapping[str, Any]] = ()

    @property
    def is_ended(self) -> bool:
        return self.status not in ("running", "cancelling")


class BatchResult(Value):
    """The end of one request of a batch."""

    custom_id: str
    kind: ResultKind
    #: The answer as the wire's ``parse_response`` reads it, or what the provider says of the error.
    body: bytes = b""
    status_code: int | None = None
    #: The wire that reads the body, where it is not that of the request.
    wire: str | None = None


class HttpReply(Value):
    """A reply with a success status; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes

    def parse(self) -> dict[str, Any]:
        """Return the JSON object of the body. Raises UnavailableError where it is none."""
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise UnavailableError("the provider's answer about a batch is not a JSON object", reason="not_json")
        return document


#: Yields requests, gets their replies, and returns a value.
Steps = Generator[HttpRequest, HttpReply, T]
#: Yields requests and, between them, results; gets None for a result.
Results = Generator[HttpRequest | BatchResult, HttpReply | None, None]


class BatchProtocol(Value):
    """One batch API."""

    name: str
    #: The most requests and bytes of one batch.
    max_requests: int
    max_bytes: int
    submit: Callable[[Endpoint, BatchInput], Steps[BatchState]]
    build_state_request: Callable[[Endpoint, str], HttpRequest]
    parse_state: Callable[[HttpReply], BatchState]
    read_results: Callable[[Endpoint, BatchState], Results]
    build_cancel_request: Callable[[Endpoint, str], HttpRequest]
    #: Returns the batches that may be that input, newest first.
    find: Callable[[Endpoint, BatchInput], Steps[list[BatchState]]]
    #: Whether what ``find`` returns is certain: the provider keeps the marker.
    keeps_marker: bool = True
    #: Whether a request of ``submit`` takes requests in before the last one does: what is refused later is no proof.
    takes_requests: Callable[[HttpRequest], bool] = lambda request: False


BATCHES: Registry[BatchProtocol] = Registry(
    "batch protocol",
    "llmctl.wire.batches",
    {
        "openai": "openai:PROTOCOL",
        "together": "openai:TOGETHER",
        "anthropic": "anthropic:PROTOCOL",
        "gemini": "gemini:PROTOCOL",
        "mistral": "mistral:PROTOCOL",
        "xai": "xai:PROTOCOL",
    },
)


def run_steps(steps: Steps[T], send: Callable[[HttpRequest], HttpReply]) -> T:
    """Send what the steps yield, and return what they return."""
    try:
        request = next(steps)
        while True:
            request = steps.send(send(request))
    except StopIteration as end:
        value: T = end.value
        return value


def iter_results(results: Results, send: Callable[[HttpRequest], HttpReply]) -> Iterator[BatchResult]:
    """Send the requests among results, and yield the results."""
    reply: HttpReply | None = None
    while True:
        try:
            item = results.send(reply)
        except StopIteration:
            return
        if isinstance(item, BatchResult):
            reply = None
            yield item
        else:
            reply = send(item)


def search_list(
    endpoint: Endpoint,
    path: str,
    query: Mapping[str, str],
    key: str,
    is_wanted: Callable[[Mapping[str, Any]], bool],
    find_next: Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]], int], Mapping[str, str]],
    *,
    is_unique: bool = True,
) -> Steps[list[Mapping[str, Any]]]:
    """Return the wanted objects of a list in pages, of the first page that has one unless they are not unique.

    ``find_next`` returns the query of the next page for a page, its objects and its number from 0; empty: none.
    Raises PendingError (``batch_uncertain``) for a list that is too long to be read.
    """
    found: list[Mapping[str, Any]] = []
    more: Mapping[str, str] = {}
    for number in range(MAX_LIST_PAGES):
        reply = yield get_request(endpoint.replace(query={**endpoint.query, **query, **more}), path)
        page = reply.parse()
        items = [one for one in page.get(key) or () if isinstance(one, Mapping)]
        found += filter(is_wanted, items)
        more = find_next(page, items, number)
        if not more or not items or (found and is_unique):
            return found
    raise unread_error()


def unread_error() -> PendingError:
    return PendingError("the provider lists too many batches to look for it", reason="batch_uncertain")


def get_request(endpoint: Endpoint, path: str) -> HttpRequest:
    return HttpRequest("GET", build_url(endpoint, path), {"accept": JSON, **endpoint.headers})


def post_request(endpoint: Endpoint, path: str, body: bytes = b"{}") -> HttpRequest:
    headers = {"content-type": JSON, "accept": JSON, **endpoint.headers}
    return HttpRequest("POST", build_url(endpoint, path), headers, body)


def parse_lines(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON lines; what is none is left out: its request then has no result."""
    for line in body.split(b"\n"):
        try:
            value = json.loads(line) if line.strip() else None
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
