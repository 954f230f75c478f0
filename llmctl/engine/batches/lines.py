"""``batch run``: lines in OpenAI's batch format in and out, for any provider.

https://platform.openai.com/docs/api-reference/batch/request-input and vLLM's ``run-batch`` have the same format.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import ChatRequest, ChatResponse
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.engine.batches.exchange import PROCESSING, LineExchange, LinePlan
from llmctl.engine.billing.cost import CostEstimate, CostTracker, PriceCache, Reservation
from llmctl.engine.turn.group_recorder import GroupRecorder
from llmctl.engine.turn.plan import TurnPlan
from llmctl.store.database import Database, Insert, Update, Write
from llmctl.store.records import jobs, provider_batches
from llmctl.store.records.types import JobRow, MapItemRow
from llmctl.wire import WIRES
from llmctl.wire.batches import BatchRequest, BatchResult
from llmctl.wire.incoming import identify, parse_request

#: The type of these jobs.
JOB_TYPE = "batch"
_CHUNK = 2000
_DEFAULT_URL = "/v1/chat/completions"
#: How many requests are sent at a time where there is no batch API.
_PARALLEL = 8
#: Codes of errors that concern every line.
_FATAL_CODES = ("config", "budget", "not-found", "storage")

WriteChunks = Callable[[Iterable[str]], object]


def read_lines(lines: Iterator[str], label: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of an input file, checked; blank ones are left out. Raises UsageError with the line's number."""
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        place = f"{label} line {number}"
        try:
            line = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{place} is not valid JSON: {error}") from error
        if not isinstance(line, dict) or not isinstance(line.get("body"), dict):
            raise UsageError(f'{place} is no batch line: it must be an object with "custom_id" and "body"')
        if not isinstance(line.get("custom_id"), str) or not line["custom_id"]:
            raise UsageError(f'{place}: "custom_id" must be a text')
        if line.get("method", "POST") != "POST":
            raise UsageError(f'{place}: "method" must be POST, got "{line["method"]}"')
        yield line


def begin_job(
    database: Database, name: str, payload: Mapping[str, Any], lines: Iterator[dict[str, Any]], label: str
) -> JobRow:
    """Create a job with all its lines, and return it. Raises UsageError; then the hub is as before."""
    now, job_id = clock.now(), new_id()
    row = {"id": job_id, "name": name, "type": JOB_TYPE, "status": "pending", "payload": dumps(dict(payload))}
    with database.transaction(durable=True):
        database.commit(Insert("jobs", row | {"created_at": now, "updated_at": now}))
        count = _add_lines(database, job_id, lines, now)
        if not count:
            raise UsageError(f"{label} has no lines")
    return jobs.get(database, job_id)


def _add_lines(database: Database, job_id: str, lines: Iterator[dict[str, Any]], now: str) -> int:
    position = 0
    seen: dict[str, int] = {}
    chunk: list[dict[str, Any]] = []
    for position, line in enumerate(lines, 1):
        first = seen.setdefault(line["custom_id"], position)
        if first != position:
            raise UsageError(f'rows {first} and {position} have the same custom_id "{line["custom_id"]}"')
        text = dumps({"url": line.get("url", _DEFAULT_URL), "body": line["body"]})
        chunk.append(
            {
                **{"id": new_id(), "job_id": job_id, "position": position, "custom_id": line["custom_id"]},
                **{"input_hash": sha256(text.encode("utf-8", "replace")).hexdigest(), "input": text, "now": now},
            }
        )
        if len(chunk) == _CHUNK:
            provider_batches.add_items(database, chunk)
            chunk.clear()
    provider_batches.add_items(database, chunk)
    return position


def find_job(database: Database, payload: Mapping[str, Any]) -> JobRow | None:
    """Return the newest job of the same input and output that has not ended, or None."""
    for job in jobs.list_by_type(database, JOB_TYPE):
        known = loads(job.payload, {})
        is_same = all(known.get(name) == payload[name] for name in ("input", "output"))
        if is_same and job.status != "completed":
            return job
    return None


class LineSource:
    """The lines of a job: asked on the wire of the target, and answered in OpenAI's words."""

    def __init__(
        self, database: Database, job: JobRow, plan: LinePlan, model: str | None, write_output: WriteChunks
    ) -> None:
        self._database = database
        self._job = job
        self._plan = plan
        self._model = model
        self._write_output = write_output
        self._wire = WIRES.load(plan.turn.target.wire)
        self._recorder = GroupRecorder(database, plan.turn.runtime, job_id=job.id)

    def build_request(self, item: MapItemRow) -> BatchRequest:
        request, own_body = self._read(item)
        http = self._wire.build_request(self._plan.endpoint, request)
        body = json.loads(http.body) if own_body is None else own_body
        path = http.url.partition("?")[0].removeprefix(self._plan.endpoint.base_url.rstrip("/"))
        return BatchRequest("", path.removeprefix("/v1"), request.model, body)

    def prepare(self, items: Sequence[MapItemRow]) -> None:
        """Do nothing: a line has its request."""

    def reserve(self, requests: list[BatchRequest]) -> Reservation | None:
        return reserve_requests(self._database, self._plan.turn, self._plan.prices, requests)

    def reject(self, item: MapItemRow, error: LlmctlError) -> None:
        self._recorder.record([self._item_write(item, None, error, None)])

    def take_in(self, item: MapItemRow, result: BatchResult) -> None:
        request, own_body = self._read(item)
        exchange = LineExchange(self._database, self._plan_without_limits, request, _encode(own_body))
        exchange.begin()
        exchange.receive(result)
        body = self._answer_body(exchange, result, is_own=own_body is not None)
        end = self._item_write(item, exchange.request_id, exchange.error, body)
        self._recorder.record([*exchange.whole_writes(), end])

    def flush(self) -> None:
        self._recorder.flush()
        if self._recorder.storage_error:
            raise self._recorder.storage_error

    def close(self) -> None:
        self._recorder.close()

    def write_output(self) -> None:
        """Write a line for each request, in the order of the input."""
        items = provider_batches.iter_items(self._database, self._job.id)
        self._write_output(f"{format_result(item)}\n" for item in items)

    def answer_all(self) -> None:
        """Send what is not answered at once, a few at a time: for hosts without a batch API.

        Raises an error that concerns every line: a refused key, an unknown model, a limit of cost.
        """
        items = provider_batches.iter_pending(self._database, self._job.id, repeats=True)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            while part := list(islice(items, _PARALLEL)):
                exchanges = [exchange for item in part if (exchange := self._begin_line(item))]
                self.flush()
                errors = list(pool.map(self._send_line, exchanges))
                self.flush()
                for error in errors:
                    if error is not None and error.code in _FATAL_CODES:
                        raise error

    def _begin_line(self, item: MapItemRow) -> tuple[MapItemRow, LineExchange] | None:
        """Commit soon that a line is going to be sent."""
        try:
            request, own_body = self._read(item)
            exchange = LineExchange(self._database, self._plan, request, _encode(own_body))
            exchange.begin()
        except LlmctlError as error:
            if error.code in _FATAL_CODES and not isinstance(error, UsageError):
                raise
            self.reject(item, error)
            return None
        refused: list[LlmctlError] = []
        self._recorder.begin(
            exchange.intention, lambda error: refused.append(error) if error else None, exchange.reservation
        )
        exchange.refused = refused
        return item, exchange

    def _send_line(self, begun: tuple[MapItemRow, LineExchange]) -> LlmctlError | None:
        item, exchange = begun
        if exchange.refused:
            return exchange.refused[0]
        exchange.send()
        body = self._answer_body(exchange, None, is_own=False)
        is_fatal = exchange.error is not None and exchange.error.code in _FATAL_CODES
        end = [] if is_fatal else [self._item_write(item, exchange.request_id, exchange.error, body)]
        self._recorder.record([*exchange.pop_writes(), *end])
        return exchange.error

    @property
    def _plan_without_limits(self) -> LinePlan:
        """The plan for what was reserved and spent already."""
        return self._plan.replace(turn=self._plan.turn.replace(cost_limits=type(self._plan.turn.cost_limits)()))

    def _read(self, item: MapItemRow) -> tuple[ChatRequest, dict[str, Any] | None]:
        """Return the request of a line; and its body where it is on the wire of the target.

        Raises UsageError for a line that is no chat.
        """
        line = loads(item.input, {})
        body = {name: value for name, value in line["body"].items() if name not in ("stream", "stream_options")}
        operation = identify("POST", line["url"], {})
        if operation.kind != "chat" or operation.wire not in ("openai-chat", "openai-responses"):
            raise UsageError(f'"url" must be /v1/chat/completions or /v1/responses, got "{line["url"]}"')
        if operation.wire == "openai-responses" and self._plan.turn.target.wire != "openai-responses":
            raise UsageError('"url" /v1/responses needs a connection on that wire', hint="use /v1/chat/completions")
        if self._model:
            body["model"] = self._model
        try:
            request = parse_request(operation, dumps(body).encode("utf-8", "surrogatepass"))
        except ValueError as error:
            raise UsageError(str(error)) from error
        request = request.replace(stream=False)
        return request, body if operation.wire == self._plan.turn.target.wire else None

    def _answer_body(self, exchange: LineExchange, result: BatchResult | None, *, is_own: bool) -> Any:
        if exchange.error is not None:
            return None
        if is_own and result is not None and result.wire in (None, self._plan.turn.target.wire):
            return loads(self._plan.redact.text(result.body.decode("utf-8", "replace")), {})
        assert exchange.response
        return to_chat_completion(exchange.response)

    def _item_write(self, item: MapItemRow, request_id: str | None, error: LlmctlError | None, body: Any) -> Write:
        status_code = 200 if error is None else error.status_code
        response = None if body is None else {"status_code": status_code, "request_id": request_id, "body": body}
        changes = {
            "status": "completed" if error is None else "failed",
            "request_id": request_id,
            "error_code": error.code if error else None,
            "error": self._plan.redact.text(error.message) if error else None,
            "output": dumps(response) if response else None,
        }
        return Update("map_items", item.id, {**changes, "updated_at": clock.now()})


def reserve_requests(
    database: Database, turn: TurnPlan, prices: PriceCache, requests: list[BatchRequest]
) -> Reservation | None:
    """Return what requests may cost at most in a batch; None without a limit. Raises BudgetError for unknown prices."""
    if not turn.cost_limits:
        return None
    tracker = CostTracker(database, turn.target, turn.cost_limits, prices, PROCESSING, turn.runtime.env)
    total, last = CostEstimate(0, 0, 0.0, 0.0), None
    for one in requests:
        body = dumps(one.body).encode("utf-8", "replace")
        last = tracker.prepare_reservation(ChatRequest(one.model, ()), partial(bytes, body))
        if last is not None:
            total = _add_estimates(total, last.estimate)
    return last and Reservation(turn.cost_limits, total, last.price)


def _encode(body: Mapping[str, Any] | None) -> bytes | None:
    return None if body is None else dumps(dict(body)).encode("utf-8", "replace")


def _add_estimates(one: CostEstimate, other: CostEstimate) -> CostEstimate:
    return CostEstimate(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cost + other.cost,
        one.input_cost + other.input_cost,
    )


def format_result(item: MapItemRow) -> str:
    """Return the output line of a request: an answer, or the error in its place."""
    response = loads(item.output, None) if item.output else None
    error = None if item.status == "completed" else {"code": item.error_code or "pending", "message": item.error or ""}
    return dumps({"id": item.id, "custom_id": item.custom_id, "response": response, "error": error})


_FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter")


def to_chat_completion(response: ChatResponse) -> dict[str, Any]:
    """Return an answer of any wire as a chat completion of OpenAI."""
    message, usage = response.message, response.usage
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    reason = response.finish_reason if response.finish_reason in _FINISH_REASONS else "stop"
    answer = {
        "role": "assistant",
        "content": message.text or (None if calls else ""),
        **({"reasoning_content": message.thinking} if message.thinking else {}),
        **({"tool_calls": calls} if calls else {}),
    }
    document: dict[str, Any] = {
        "id": response.response_id or f"chatcmpl-{new_id()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": response.model,
        "choices": [{"index": 0, "message": answer, "logprobs": None, "finish_reason": reason}],
    }
    if usage is not None:
        document["usage"] = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
        }
    return document
