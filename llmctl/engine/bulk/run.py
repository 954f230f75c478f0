"""Answer the rows of a map: feed them, send them in threads, record them in groups, and write results in order.

The main thread reads rows and builds requests; a :class:`GroupRecorder` commits that they will be sent; worker threads
send them and build the rows of their answers; the recorder commits those; the main thread writes what is committed.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import TYPE_CHECKING

from llmctl.core import clock
from llmctl.core.errors import BudgetError, LlmctlError, PartialError, RejectedError, StorageError
from llmctl.core.redaction import Redaction
from llmctl.core.signals import Interrupted, block_signals, defer_signals
from llmctl.core.values import Value
from llmctl.engine.billing.cost import PriceCache
from llmctl.engine.bulk.exchange import FAILED, PENDING, ExchangePlan, ItemExchange, stops_job
from llmctl.engine.bulk.jobs import PromptTemplates, finish_job
from llmctl.engine.bulk.output import ResultWriter
from llmctl.engine.bulk.pace import PaceOptions, SharedPace
from llmctl.engine.bulk.spec import MapSpec
from llmctl.engine.connections.target import ResolvedEndpoint
from llmctl.engine.jobs.lease import Heartbeat
from llmctl.engine.turn.group_recorder import GROUP_SIZE, GroupRecorder
from llmctl.engine.turn.plan import TurnPlan
from llmctl.store.database import Database, Update
from llmctl.store.opening import open_sibling
from llmctl.store.records import map_items
from llmctl.store.records.map_items import PendingItem
from llmctl.store.records.types import JobRow

if TYPE_CHECKING:
    from llmctl.engine.turn.cache import Cache

#: Seconds between two looks at what has happened, and how far ahead rows are prepared at the present speed.
_TICK_S = 0.25
_AHEAD_S = 0.6
#: So many rows are prepared at least, unless each of them reserves its cost.
_MIN_AHEAD = 50
#: Seconds from one commit to the next: rows are prepared ahead, so that nobody waits for it.
_COMMIT_INTERVAL_S = 0.1
#: Seconds that requests under way may take to end once the job is stopped.
_GRACE_S = 5.0
#: So many rows in a row that could not reach the host end the job: the host is down, not the row at fault.
_MAX_UNAVAILABLE = 20
#: Reasons of errors that concern one row, though others of their kind concern all.
_ROW_REASONS = ("template", "no_prompt", "missing_parameter", "cache_miss")
#: ``--on-error N%`` counts from so many rows on.
_MIN_ROWS_FOR_SHARE = 20
#: Reason of the PartialError of a job whose rows have all ended.
FAILED_ROWS = "failed_rows"
#: Rows whose results are written before more is fed.
_WRITE_CHUNK = 1000


class ErrorPolicy(Value):
    """``--on-error``: the share of rows that may fail; 1 is all of them, 0 none."""

    max_share: float = 1.0

    def is_exceeded(self, failed: int, ended: int) -> bool:
        if self.max_share >= 1 or not failed:
            return False
        return self.max_share <= 0 or (ended >= _MIN_ROWS_FOR_SHARE and failed > self.max_share * ended)


class MapProgress(Value):
    """How far a map is. ``cost`` in US dollars is None where that of one row is unknown."""

    ended: int
    failed: int
    total: int
    #: Of this run alone.
    rows: int
    seconds: float
    cost: float | None
    parallel: int


class MapRun:
    """One run over the rows of a job that have no answer."""

    def __init__(
        self,
        database: Database,
        spec: MapSpec,
        plan: ExchangePlan,
        writer: ResultWriter,
        policy: ErrorPolicy,
        on_progress: Callable[[MapProgress], object],
    ) -> None:
        self._database = database
        self._plan = plan
        self._pace = plan.pace
        self._writer = writer
        self._policy = policy
        self._on_progress = on_progress
        self._templates = PromptTemplates(spec)
        writer.write_earlier()
        counts = map_items.count_by_status(database, plan.job_id)
        self._total = sum(counts.values())
        self._failed = counts.get(FAILED, 0)
        self._ended = self._failed + counts.get("completed", 0)
        self._cost: float | None = map_items.sum_cost(database, plan.job_id) or 0.0
        self._started = time.monotonic()
        self._rows = 0
        #: Rows read from the hub, with their prompts.
        self._next: deque[tuple[PendingItem, object]] = deque()
        self._read_upto = 0
        #: Rows whose intention is on its way to the hub or further, by id; and positions in the order of the input.
        self._begun: dict[str, ItemExchange] = {}
        self._order: deque[int] = deque()
        self._ended_positions: set[int] = set()
        #: Keys of the cache that rows under way have, and the equal rows that wait for them.
        self._asked: dict[str | None, list[tuple[PendingItem, object]]] = {}
        #: Rows that a cost limit does not allow while others run.
        self._refused: deque[tuple[ItemExchange, BudgetError]] = deque()
        #: Rows that cannot be sent, and are not committed yet.
        self._unsent = 0
        #: Rows in a row that could not reach the host, and whether they are too many.
        self._unreached = 0
        self._is_host_down = False
        #: The ids of the rows that last found the host unavailable, one after the other.
        self._unavailable: list[str] = []
        self._ready: SimpleQueue[ItemExchange | None] = SimpleQueue()
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._happened = Event()
        self._claims = Lock()
        self._threads = ThreadPoolExecutor(max(1, plan.pace_options.parallel or 64), "map")
        self._workers: list[Future[None]] = []
        self._failure: LlmctlError | None = None

    def run(self) -> None:
        """Answer all rows. Raises PartialError where some failed, or what ended the job early."""
        heartbeat = Heartbeat(self._database.path, self._plan.job_id)
        try:
            with GroupRecorder(
                self._database,
                self._plan.turn.runtime,
                max_delay_s=_COMMIT_INTERVAL_S,
                job_id=self._plan.job_id,
            ) as self._recorder:
                try:
                    self._loop()
                finally:
                    self._stop()
            self._take_events()
            self._write_results(is_all=True)
        finally:
            heartbeat.stop()
        if self._recorder.storage_error:
            problem = self._recorder.storage_error
            raise StorageError(
                f"cannot store the answers: {problem.message}", hint=self._recorder.spool_hint, reason=problem.reason
            )
        if self._failure and self._ended < self._total:
            raise self._failure
        if self._failed:
            raise PartialError(f"{self._failed:,} of {self._total:,} rows failed", reason=FAILED_ROWS)

    # --- the main thread

    def _loop(self) -> None:
        while True:
            self._happened.clear()
            self._take_events()
            self._feed()
            self._add_workers()
            self._write_results()
            self._report()
            if self._failure or self._recorder.storage_error or not self._has_work():
                return
            if not self._writer.is_behind:
                self._happened.wait(_TICK_S)
            self._require_workers()

    def _has_work(self) -> bool:
        return bool(self._begun or self._refused or self._next or self._unsent)

    def _feed(self) -> None:
        if self._failure:
            return
        if self._refused:
            self._retry_refused()
            return
        while len(self._begun) < self._window():
            if not self._next and not self._read_rows():
                return
            item, messages = self._next.popleft()
            self._begin(item, messages)
            if self._failure:
                return

    def _window(self) -> int:
        """Return how many rows may be begun: those that are sent at once, and what is sent until the next look."""
        elapsed = max(time.monotonic() - self._started, 0.1)
        least = self._pace.parallel if self._plan.turn.cost_limits else max(_MIN_AHEAD, self._pace.parallel)
        ahead = max(least, math.ceil(self._rows / elapsed * _AHEAD_S))
        return self._pace.parallel + min(GROUP_SIZE, ahead)

    def _read_rows(self) -> bool:
        items = map_items.list_pending(self._database, self._plan.job_id, self._read_upto, GROUP_SIZE)
        if not items:
            return False
        self._read_upto = items[-1].position
        prompts = self._templates.render_rows([item.values for item in items])
        self._next.extend(zip(items, prompts, strict=True))
        return True

    def _begin(self, item: PendingItem, messages: object, *, is_new: bool = True) -> None:
        if is_new:
            self._order.append(item.position)
        if not isinstance(messages, tuple):
            assert isinstance(messages, LlmctlError)
            self._fail_unsent(item, messages)
            return
        exchange = ItemExchange(self._database, self._plan, item, messages)
        try:
            exchange.begin()
        except RejectedError as error:
            self._fail_unsent(item, error)
        except LlmctlError as error:
            if error.reason == "cache_miss":
                self._fail_unsent(item, error)
            else:
                self._failure = error
        else:
            if exchange.cache_key in self._asked:
                self._asked[exchange.cache_key].append((item, messages))
            else:
                self._start(exchange)

    def _start(self, exchange: ItemExchange) -> None:
        """Use the stored answer of a row, or commit that it is going to be sent."""
        self._begun[exchange.item.id] = exchange
        if exchange.is_cached:
            exchange.replay()
            if self._claim(exchange):
                self._recorder.record(exchange.pop_writes(), partial(self._after_end, exchange))
            return
        if exchange.cache_key:
            self._asked[exchange.cache_key] = []
        self._commit_intention(exchange)

    def _commit_intention(self, exchange: ItemExchange) -> None:
        writes, reservation = exchange.intention
        self._recorder.begin(writes, partial(self._after_intention, exchange), reservation)

    def _fail_unsent(self, item: PendingItem, error: LlmctlError) -> None:
        """Record a row that cannot be sent."""
        columns = {"status": FAILED, "error_code": error.code, "error": error.message, "updated_at": clock.now()}
        self._unsent += 1
        self._recorder.record(
            [Update("map_items", item.id, columns)], lambda _: self._post(partial(self._count_unsent, item, error))
        )

    def _count_unsent(self, item: PendingItem, error: LlmctlError) -> None:
        self._unsent -= 1
        self._count(item, error, 0.0)

    def _retry_refused(self) -> None:
        """Begin rows again that did not fit under a cost limit; with none under way, the limit is reached."""
        while self._refused and len(self._begun) < self._window():
            exchange, error = self._refused[0]
            if not self._begun:
                self._failure = error
                return
            self._refused.popleft()
            self._begun[exchange.item.id] = exchange
            self._commit_intention(exchange)
            return

    def _take_events(self) -> None:
        with suppress(Empty):
            while True:
                self._events.get_nowait()()

    def _count(self, item: PendingItem, error: LlmctlError | None, cost: float | None) -> None:
        """Count a row that has ended, and decide whether the job goes on."""
        if error and stops_job(error) and error.reason not in _ROW_REASONS:
            self._failure = self._failure or error
            return
        self._ended += 1
        self._rows += 1
        self._failed += error is not None
        self._cost = None if self._cost is None or cost is None else self._cost + cost
        self._ended_positions.add(item.position)
        self._writer.add(item.id)
        if error and error.code == "unavailable":
            self._unavailable.append(item.id)
        else:
            self._unavailable.clear()
        if self._policy.is_exceeded(self._failed, self._ended):
            self._failure = self._failure or PartialError(
                f"stopped: {self._failed:,} of {self._ended:,} rows failed", reason="on_error"
            )

    def _fail(self, error: LlmctlError) -> None:
        self._failure = self._failure or error

    def _forget_unavailable(self) -> None:
        """Let rows be asked again that found the host down, where that has ended the job."""
        if not self._failure or self._failure.code != "unavailable":
            return
        again = {"status": PENDING, "error_code": None, "error": None, "updated_at": clock.now()}
        self._recorder.record([Update("map_items", id, again) for id in self._unavailable])
        self._ended -= len(self._unavailable)
        self._failed -= len(self._unavailable)

    def _write_results(self, *, is_all: bool = False) -> None:
        """Write results of committed rows, in the order of the input or as they come."""
        upto = 0
        while self._order and self._order[0] in self._ended_positions:
            upto = self._order.popleft()
            self._ended_positions.discard(upto)
        if upto:
            self._writer.allow(upto)
        if is_all and not self._failure and not self._recorder.storage_error and self._ended >= self._total:
            self._writer.allow(None)
        self._writer.write(None if is_all else _WRITE_CHUNK)

    def _report(self) -> None:
        seconds = time.monotonic() - self._started
        self._on_progress(
            MapProgress(self._ended, self._failed, self._total, self._rows, seconds, self._cost, self._pace.parallel)
        )

    def _require_workers(self) -> None:
        """Raise what ended a worker or the recorder: a bug."""
        for worker in self._workers:
            if worker.done():
                worker.result()
        self._recorder.require_running()

    # --- stopping

    def _stop(self) -> None:
        """Let what is under way end, for a while; record what does not."""
        self._pace.stop()
        while True:
            try:
                self._ready.get_nowait()
            except Empty:
                break
        for _ in self._workers:
            self._ready.put(None)
        self._recorder.flush()
        self._cancel_unsent()
        deadline = time.monotonic() + _GRACE_S
        while any(exchange.is_running for exchange in self._begun.values()) and time.monotonic() < deadline:
            self._happened.clear()
            self._take_events()
            self._happened.wait(0.05)
        for exchange in list(self._begun.values()):
            if self._claim(exchange):
                self._recorder.record(exchange.cancel_writes("interrupted" if exchange.was_sent else None))
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._recorder.flush()
        self._take_events()
        self._forget_unavailable()

    def _cancel_unsent(self) -> None:
        for exchange in list(self._begun.values()):
            if not exchange.is_running and not exchange.was_sent and self._claim(exchange):
                self._recorder.record(exchange.cancel_writes(None))
                del self._begun[exchange.item.id]

    def _claim(self, exchange: ItemExchange) -> bool:
        """Return whether the caller is the one that records the end of an exchange."""
        with self._claims:
            is_free, exchange.is_claimed = not exchange.is_claimed, True
            return is_free

    # --- the recorder's thread

    def _after_intention(self, exchange: ItemExchange, error: LlmctlError | None) -> None:
        if error is None:
            self._ready.put(exchange)
        else:
            self._post(partial(self._refuse, exchange, error))

    def _after_end(self, exchange: ItemExchange, error: LlmctlError | None) -> None:
        self._post(partial(self._end, exchange))

    # --- what those threads hand to the main one

    def _post(self, event: Callable[[], None]) -> None:
        self._events.put(event)
        self._happened.set()

    def _refuse(self, exchange: ItemExchange, error: LlmctlError) -> None:
        self._begun.pop(exchange.item.id, None)
        if isinstance(error, BudgetError):
            self._refused.append((exchange, error))

    def _end(self, exchange: ItemExchange) -> None:
        self._begun.pop(exchange.item.id, None)
        for item, messages in self._asked.pop(exchange.cache_key, ()) if exchange.cache_key else ():
            self._begin(item, messages, is_new=False)
        self._count(exchange.item, exchange.error, exchange.result.cost)

    # --- workers

    def _add_workers(self) -> None:
        wanted = min(self._pace.parallel, len(self._begun))
        while len(self._workers) < wanted:
            with block_signals():
                self._workers.append(self._threads.submit(self._work))

    def _work(self) -> None:
        while (exchange := self._ready.get()) is not None:
            with suppress(Interrupted):
                if self._is_host_down:
                    raise Interrupted
                exchange.is_running = True
                try:
                    exchange.send()
                    while exchange.needs_correction:
                        self._send_correction(exchange)
                finally:
                    exchange.is_running = False
                self._watch_host(exchange.error)
                if self._claim(exchange):
                    self._recorder.record(exchange.pop_writes(), partial(self._after_end, exchange))

    def _watch_host(self, error: LlmctlError | None) -> None:
        """Send nothing more once so many rows, one after the other, could not reach the host."""
        with self._claims:
            self._unreached = self._unreached + 1 if error and error.code == "unavailable" else 0
            if error and self._unreached >= max(_MAX_UNAVAILABLE, 2 * self._pace.parallel):
                self._is_host_down = True
                self._post(partial(self._fail, error))

    def _send_correction(self, exchange: ItemExchange) -> None:
        """Send a wrong answer back: a further request, whose intention is committed like the first one's."""
        self._recorder.record(exchange.pop_writes())
        try:
            exchange.begin()
        except LlmctlError as error:  # such as a conversation that has become too long
            exchange.fail(error)
            return
        if exchange.is_cached:
            exchange.replay()
            return
        committed: SimpleQueue[LlmctlError | None] = SimpleQueue()
        writes, reservation = exchange.intention
        self._recorder.begin(writes, committed.put, reservation)
        refused = committed.get()
        if refused:
            exchange.fail(refused)
        else:
            exchange.send()


class MapSetup(Value):
    """How a map is run this time; the job keeps none of it."""

    turn: TurnPlan
    resolved: ResolvedEndpoint
    pace: PaceOptions
    policy: ErrorPolicy
    in_order: bool
    write_stdout: Callable[[str], object]
    on_progress: Callable[[MapProgress], object]


def run_map(database: Database, job: JobRow, spec: MapSpec, setup: MapSetup) -> None:
    """Answer the rows of a job that this process holds, and write the output; then the job has ended.

    Raises PartialError where rows failed (the output is complete), and what ended the job early (``FILE.partial`` has
    the rows so far, and the job can be resumed).
    """
    pace = SharedPace(setup.pace)
    with closing(open_sibling(database)) as lookups:
        plan = ExchangePlan(
            turn=setup.turn,
            endpoint=setup.resolved.endpoint,
            redact=Redaction(setup.resolved.secrets),
            job_id=job.id,
            prices=PriceCache(lookups),
            pace=pace,
            pace_options=setup.pace,
            cache=_open_cache(database, setup.turn),
        )
        writer = ResultWriter(database, job.id, spec, setup.write_stdout, in_order=setup.in_order)
        try:
            _run_to_end(database, job, MapRun(database, spec, plan, writer, setup.policy, setup.on_progress), writer)
        finally:
            writer.close()


def _open_cache(database: Database, turn: TurnPlan) -> Cache | None:
    if not turn.options.uses_cache:
        return None
    from llmctl.engine.turn.cache import Cache  # only where a cache is asked for

    return Cache(database, turn.options, turn.runtime)


def _run_to_end(database: Database, job: JobRow, run: MapRun, writer: ResultWriter) -> None:
    try:
        run.run()
        writer.publish()
    except PartialError as error:
        if error.reason == FAILED_ROWS:
            writer.publish()
        finish_job(database, job.id, error)
        raise
    except LlmctlError as error:
        with suppress(StorageError):  # the job then counts as that of a dead process
            finish_job(database, job.id, error)
        raise
    except BaseException:
        with suppress(StorageError), defer_signals():
            finish_job(database, job.id, None, is_cancelled=True)
        raise
    finish_job(database, job.id, None)
