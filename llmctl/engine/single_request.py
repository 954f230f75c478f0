"""Requests that are no turn (embeddings, images): each a ledger row with its attempts, and one whole answer.

``with SingleRequestRunner(...) as runner: runner.send(...)`` – what ends the block early finishes the running request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, TypeVar

from llmctl.core import clock
from llmctl.core.chat import ChatResponse, File, Message, Usage
from llmctl.core.errors import LlmctlError, StorageError, UnavailableError, UsageError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.options import TurnOptions
from llmctl.core.redaction import Redaction, find_secret_values
from llmctl.core.signals import defer_signals
from llmctl.core.single_requests import EmbedRequest, EmbedResponse, ImageRequest, ImageResponse
from llmctl.core.stored_values import new_id
from llmctl.engine.billing import cost as billing_cost
from llmctl.engine.billing.cost import CostEstimate, CostLimits, PriceKey, Reservation
from llmctl.engine.chats import attachments
from llmctl.engine.connections.target import Target, TargetKind, resolve_endpoint
from llmctl.engine.jobs.lease import Heartbeat
from llmctl.engine.models import rates
from llmctl.engine.models.rates import Price, max_cost
from llmctl.engine.runtime import CallerInfo, RetryScheduled, RuntimeEnv
from llmctl.engine.turn import records
from llmctl.engine.turn.model_call import RequestSender, StreamedResponse, limit_size
from llmctl.engine.turn.recorder import Recorder
from llmctl.engine.turn.state import Attempt, CallEnd, CallState, TurnIds
from llmctl.providers import parse_host
from llmctl.store.database import Database, Insert
from llmctl.store.records import requests
from llmctl.store.records.types import RequestRow
from llmctl.wire import WIRES, Embeddings, Images

#: The most of an answer that is taken: 2,048 vectors of 3,072 numbers, or ten large pictures, twice.
_MAX_ANSWER_BYTES = 256 * 1024**2


class HasUsage(Protocol):
    """What every answer reports besides its content."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def model(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class SingleRequestPlan:
    """What the requests of one command have in common."""

    kind: TargetKind
    target: Target
    options: TurnOptions
    caller: CallerInfo
    runtime: RuntimeEnv
    log: bool = True
    cost_limits: CostLimits = field(default_factory=CostLimits)

    @property
    def model_options(self) -> dict[str, Any]:
        """The options to send: the command's override the alias's and the connection's."""
        options = {**self.target.options, **self.target.alias_options, **self.options.options}
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """One request. ``stored_body`` lacks the content of files; ``estimate`` returns the most it can cost at a price."""

    http: HttpRequest
    stored_body: str
    estimate: Callable[[Price], CostEstimate | None]


@dataclass(slots=True)
class UsageSummary:
    """Totals of a command's requests. ``cost`` is None where that of one is unknown."""

    model: str
    request_ids: list[str] = field(default_factory=list)
    status: str = "pending"
    usage: Usage = field(default_factory=Usage)
    usage_known: bool = False
    cost: float | None = None
    duration_ms: int = 0
    #: How many requests used a stored answer; None where no cache was asked for.
    cached_requests: int | None = None
    _answer_count: int = 0

    def add_answer(self, usage: Usage | None, model: str | None, cost: float | None) -> None:
        self.model = model or self.model
        is_known = self.cost is not None or not self._answer_count
        self.cost = (self.cost or 0.0) + cost if is_known and cost is not None else None
        self._answer_count += 1
        if usage is not None:
            self.usage_known = True
            self.usage = Usage(
                input_tokens=self.usage.input_tokens + usage.input_tokens,
                output_tokens=self.usage.output_tokens + usage.output_tokens,
                cached_tokens=self.usage.cached_tokens + usage.cached_tokens,
            )

    def to_json(self) -> dict[str, Any]:
        """Return what the JSON documents of these commands have in common."""
        names = ("input_tokens", "output_tokens", "total_tokens", "cached_tokens")
        counts = {name: getattr(self.usage, name) for name in names}
        return {
            "request_id": self.request_ids[-1] if self.request_ids else None,
            "request_ids": self.request_ids,
            "status": self.status,
            "model": self.model,
            "usage": counts if self.usage_known else dict.fromkeys(counts),
            "cost": self.cost,
            "duration_ms": self.duration_ms,
            **self._cache_report(),
        }

    def _cache_report(self) -> dict[str, Any]:
        count = self.cached_requests
        return {} if count is None else {"cached": count == len(self.request_ids), "cached_requests": count}


A = TypeVar("A", bound=HasUsage)


class SingleRequestRunner:
    """Sends the requests of one command, one after the other; ``summary`` has their totals."""

    def __init__(
        self,
        database: Database,
        plan: SingleRequestPlan,
        *,
        on_retry: Callable[[float, LlmctlError], None] = lambda *_: None,
    ) -> None:
        self._database = database
        self._plan = plan
        self._on_retry = on_retry
        runtime = plan.runtime
        resolved = resolve_endpoint(database, plan.target, runtime, needs_key=not plan.options.cached_only)
        self.endpoint: Endpoint = resolved.endpoint
        self.summary = UsageSummary(plan.target.model)
        self._redact = Redaction((*resolved.secrets, *find_secret_values(plan.model_options)))
        self._started = time.monotonic()

    def __enter__(self) -> SingleRequestRunner:
        plan, now = self._plan, clock.now()
        self._ids = TurnIds("", "", new_id(), 0, now)
        job = records.command_job_row(self._ids.job_id, plan.kind, now)
        self._database.commit(Insert("jobs", job), durable=True)
        self._recorder = Recorder(self._database, self._ids, plan, self._redact, lambda: None)
        self._sender = RequestSender(self._recorder, plan, self.endpoint, self._redact)
        self._heartbeat = Heartbeat(self._database.path, self._ids.job_id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._heartbeat.stop()
        known = error if isinstance(error, LlmctlError) else None
        # A plain LlmctlError is the consumer's: stdout cannot be written.
        stopped = error is not None and (known is None or known.code == LlmctlError.code)
        self.summary.status = "interrupted" if stopped else "failed" if known else "completed"
        if self._recorder.state:
            self._finish(self.summary.status, None, known)
        self.summary.duration_ms = clock.elapsed_ms(self._started)
        if known:
            known.request_id = self.summary.request_ids[-1] if self.summary.request_ids else None
            self._recorder.close("failed", self._redact.text(known.message), known.exit_code)
        else:
            self._recorder.close(*(("cancelled", "interrupted") if error else ("completed", None, 0)))

    @property
    def storage_error(self) -> StorageError | None:
        """Why the hub takes no more rows; the answers are worth showing all the same."""
        return self._recorder.storage_error

    def send(self, request: PreparedRequest, parse: Callable[[bytes], A]) -> A:
        """Send a request, again while that may help, and return its answer. Raises what went wrong.

        Where a cache is asked for, the stored answer of an equal request is returned instead.
        """
        if self._plan.log and self._plan.options.uses_cache:
            return self._send_cached(request, parse)
        self._begin(self._new_state(self._prepare_reservation(request)))
        answer, _ = self._request(request, parse)
        self._finish("completed", answer, None)
        return answer

    def _send_cached(self, request: PreparedRequest, parse: Callable[[bytes], A]) -> A:
        from llmctl.engine.turn.cache import Cache, Hit, Miss  # only where a cache is asked for
        from llmctl.wire.canonical import CanonicalRequest

        key = CanonicalRequest(self._plan.target.wire, request.http).key
        stored: list[bytes] = []

        def load_answer(row: RequestRow) -> bool:
            stream = requests.find_request_stream(self._database, row.id)
            stored[:] = [requests.stream_bytes(self._database, stream)] if stream else []
            return bool(stored and stored[0])

        def begin_hit(hit: Hit) -> None:
            state = self._new_state(None)
            state.cache_columns = hit.to_columns()
            self._begin(state)

        def begin_miss(miss: Miss) -> None:
            stored.clear()
            state = self._new_state(self._prepare_reservation(request))
            state.cache_columns, state.cache_miss = {"cache_key": key}, miss.reason
            self._begin(state)

        cache = Cache(self._database, self._plan.options, self._plan.runtime)
        cache.begin(key, is_usable=load_answer, begin_hit=begin_hit, begin_miss=begin_miss)
        self.summary.cached_requests = (self.summary.cached_requests or 0) + len(stored)
        answer, body = (parse(stored[0]), None) if stored else self._request(request, parse)
        self._finish("completed", answer, None, body)
        return answer

    def _request(self, request: PreparedRequest, parse: Callable[[bytes], A]) -> tuple[A, bytes]:
        """Return the answer of the host, and its body."""
        body = b""

        def read(response: StreamedResponse, attempt: Attempt) -> Iterator[A]:
            attempt.time_to_first_byte_ms = clock.elapsed_ms(attempt.started)
            attempt.body = b"".join(limit_size(response.chunks, _MAX_ANSWER_BYTES))
            if not attempt.body:
                raise UnavailableError("the server sent an empty answer", reason="empty")
            nonlocal body
            body = self._redact.raw(attempt.body)
            answer = parse(body)
            attempt.body = None  # only refusals are stored
            yield answer

        for event in self._sender.send(request.http, lambda: self._body_columns(request), read):
            if isinstance(event, RetryScheduled):
                self._on_retry(event.seconds, event.error)
            else:
                answer = event
        return answer, body

    def _body_columns(self, request: PreparedRequest) -> dict[str, Any]:
        return {"body": self._redact.request_text(request.stored_body)}

    def _new_state(self, reservation: Reservation | None) -> CallState:
        self._ids.advance()
        return CallState("", new_id(), new_id(), 0, reservation=reservation)

    def _begin(self, state: CallState) -> None:
        """Commit the row of the request. Raises BudgetError where its cost might exceed a limit."""
        missed = {"cache_miss": state.cache_miss} if state.cache_miss else {}
        parameters = {"options": self._plan.model_options, **missed}
        row = records.request_row(self._plan, self._ids, state, parameters, self._redact)
        self._recorder.begin(state, [Insert("requests", {**row, "type": self._plan.kind})])
        self.summary.request_ids.append(state.request_id)

    def _prepare_reservation(self, request: PreparedRequest) -> Reservation | None:
        target, limits = self._plan.target, self._plan.cost_limits
        if not limits:
            return None
        key = self._price_key
        price = billing_cost.find_price(self._database, key, (target.model,), moment=clock.parse(clock.now()))
        estimate = request.estimate(price) if price else None
        if price and estimate:
            return Reservation(limits, estimate, price)
        if key.is_free:
            return None
        raise billing_cost.unknown_price_error(target.provider.name, target.model)

    @cached_property
    def _price_key(self) -> PriceKey:
        plan = self._plan
        return billing_cost.limited_price_key(self._database, plan.target, plan.cost_limits, plan.runtime.env)

    def _finish(
        self, status: str, answer: HasUsage | None, error: LlmctlError | None, body: bytes | None = None
    ) -> None:
        """Write the end of the running request, with its usage and cost, and the body of an answer to use again."""
        state, plan = self._recorder.state, self._plan
        assert state
        with defer_signals():
            usage, model = (answer.usage, answer.model) if answer else (None, None)
            if state.is_cached:
                usage, cost = Usage(), billing_cost.Cost(0.0)
            else:
                cost = billing_cost.cost_for_target(
                    self._database, plan.target, usage, model, plan.model_options, self._ids.last_time, self._price_key
                )
            columns = cost.to_columns() | _settle_reservation(state, cost.amount, error)
            response = ChatResponse(Message("assistant", ()), usage=usage, model=model)
            also = [] if body is None else [records.body_write(plan, state, body, self._ids.last_time)]
            self._recorder.finish_request(CallEnd(status, response, False, {}, error, columns), also)
        if answer:
            self.summary.add_answer(usage, model, cost.amount)


def _settle_reservation(state: CallState, cost: float | None, error: LlmctlError | None) -> dict[str, float | None]:
    """Settle a reservation; all of it stays reserved for a request that may be billed at an unknown cost."""
    if state.reservation is None:
        return {}
    possible_cost = state.reservation.estimate.cost if cost is None and state.may_be_billed(error) else None
    state.reservation.settle(cost, possible_cost)
    return {"reserved_cost": possible_cost}


def require_embeddings(plan: SingleRequestPlan) -> Embeddings:
    """Return the embeddings of the target's wire; raise UsageError where it has none."""
    embeddings = WIRES.load(plan.target.wire).embeddings
    if embeddings is None:
        name = plan.target.connection or plan.target.provider.name
        raise UsageError(
            f'"{name}" has no embeddings (wire {plan.target.wire})',
            hint="choose another with -m CONNECTION:MODEL",
            reason="no_embeddings",
        )
    return embeddings


def embed(
    runner: SingleRequestRunner, plan: SingleRequestPlan, texts: Sequence[str], batch: int | None = None
) -> Iterator[EmbedResponse]:
    """Yield answers, each with the vectors of the next texts; ``batch`` is the most texts in one request."""
    embeddings = require_embeddings(plan)
    size = min(batch or embeddings.most_texts, embeddings.most_texts)
    for start in range(0, len(texts), size):
        request = EmbedRequest(plan.target.model, tuple(texts[start : start + size]), plan.model_options)
        yield _embed_batch(runner, plan, embeddings, request)


def _embed_batch(
    runner: SingleRequestRunner, plan: SingleRequestPlan, embeddings: Embeddings, request: EmbedRequest
) -> EmbedResponse:
    http = embeddings.build_request(runner.endpoint, request)
    body = http.body.decode("utf-8", "replace")
    prepared = PreparedRequest(http, body, lambda price: _estimate_embedding_cost(price, plan, http.body))
    return runner.send(prepared, lambda body: embeddings.parse_response(body, request))


def _estimate_embedding_cost(price: Price, plan: SingleRequestPlan, body: bytes) -> CostEstimate | None:
    tokens = rates.max_input_tokens(body, (), None)
    cost = max_cost(price, tokens, 0, context=billing_cost.price_context(plan.model_options), moment=datetime.now(UTC))
    return None if cost is None else CostEstimate(tokens, 0, cost, cost)


#: More than any model needs for one image: gpt-image-1 takes 6,240 for its largest.
_TOKENS_PER_IMAGE = 20_000


def require_images(plan: SingleRequestPlan) -> Images:
    """Return the image requests of the target's wire; raise UsageError where it has none."""
    images = WIRES.load(plan.target.wire).images
    if images is None:
        name = plan.target.connection or plan.target.provider.name
        raise UsageError(
            f'"{name}" cannot make images (wire {plan.target.wire})',
            hint="choose another with -m CONNECTION:MODEL",
            reason="no_images",
        )
    return images


def make_images(
    runner: SingleRequestRunner, plan: SingleRequestPlan, prompt: str, files: Iterable[File] = ()
) -> ImageResponse:
    """Return images as bytes; ``files`` are images to start from."""
    images = require_images(plan)
    request = ImageRequest(plan.target.model, prompt, tuple(files), plan.model_options)
    http = images.build_request(runner.endpoint, request)
    body = _stored_body(images, runner, request, http)
    prepared = PreparedRequest(http, body, lambda price: _estimate_image_cost(price, plan, request))
    answer = runner.send(prepared, images.parse_response)
    return answer.replace(images=tuple(_with_content(image, plan) for image in answer.images))


def _stored_body(images: Images, runner: SingleRequestRunner, request: ImageRequest, http: HttpRequest) -> str:
    """Return the body without the content of files."""
    if request.files:
        files = tuple(file.replace(data=b"") if file.data else file for file in request.files)
        http = images.build_request(runner.endpoint, request.replace(files=files))
    return http.body.decode("utf-8", "replace")


def _with_content(image: File, plan: SingleRequestPlan) -> File:
    if image.data is not None or image.url is None:
        return image
    # A private address is fetched only from the target's own host, which may be a server of the user.
    is_own_host = parse_host(image.url) == parse_host(plan.target.base_url)
    runtime = plan.runtime.replace(private_fetch=True) if is_own_host else plan.runtime
    fetched = attachments.fetch_url(image.url, runtime)
    return image.replace(data=fetched.data, media_type=fetched.media_type)


def _estimate_image_cost(price: Price, plan: SingleRequestPlan, request: ImageRequest) -> CostEstimate | None:
    count = _image_count(request.options)
    input_tokens = rates.max_input_tokens(request.prompt.encode("utf-8", "replace"), request.files, None)
    output_tokens = count * _TOKENS_PER_IMAGE
    image_cost = max((rate for _, rate in price.rates.get("image", ())), default=0.0) * count
    context, moment = billing_cost.price_context(plan.model_options), datetime.now(UTC)
    cost = max_cost(price, input_tokens, output_tokens, with_files=True, context=context, moment=moment)
    if cost is None:
        return CostEstimate(0, 0, image_cost, 0.0) if image_cost else None
    return CostEstimate(input_tokens, output_tokens, cost + image_cost, 0.0)


def _image_count(options: Mapping[str, Any]) -> int:
    count = options.get("n", 1)
    return count if isinstance(count, int) and count > 0 else 1
