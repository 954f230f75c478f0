"""``map --via batch``: the rows of a map through a batch API, with the prompts, ledger rows and output of any map."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from llmctl.core.chat import Message
from llmctl.core.errors import LlmctlError, UsageError
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import loads
from llmctl.engine.batches.exchange import PROCESSING, order_writes
from llmctl.engine.batches.lines import reserve_requests
from llmctl.engine.billing.cost import CostLimits, PriceCache, Reservation
from llmctl.engine.bulk.exchange import ExchangePlan, ItemExchange, StoredResponse
from llmctl.engine.bulk.jobs import PromptTemplates
from llmctl.engine.bulk.output import ResultWriter
from llmctl.engine.bulk.pace import PaceOptions, SharedPace
from llmctl.engine.bulk.spec import MapSpec
from llmctl.engine.connections.target import ResolvedEndpoint
from llmctl.engine.turn.group_recorder import GroupRecorder
from llmctl.engine.turn.plan import TurnPlan, build_chat_request
from llmctl.engine.turn.turn import check_prompt_size
from llmctl.store.database import Database, Update
from llmctl.store.opening import open_sibling
from llmctl.store.records.map_items import PendingItem
from llmctl.store.records.types import JobRow, MapItemRow
from llmctl.wire import WIRES
from llmctl.wire.batches import BatchRequest, BatchResult


def require_batchable(turn: TurnPlan) -> None:
    """Raise UsageError for options that need more than one request for a row."""
    if turn.options.fix:
        raise UsageError("--fix and --via batch cannot be combined", hint="ask failed rows again: --retry-failed")


class MapSource:
    """The rows of a map."""

    def __init__(
        self,
        database: Database,
        job: JobRow,
        spec: MapSpec,
        turn: TurnPlan,
        resolved: ResolvedEndpoint,
        write_stdout: Callable[[str], object],
    ) -> None:
        require_batchable(turn)
        self._database = database
        self._job = job
        self._spec = spec
        self._write_stdout = write_stdout
        self._limits = turn.cost_limits
        self._lookups = open_sibling(database)
        pace = PaceOptions()
        self._plan = ExchangePlan(
            # What it may cost is reserved for a batch as a whole.
            turn=turn.replace(cost_limits=CostLimits()),
            endpoint=resolved.endpoint,
            redact=Redaction(resolved.secrets),
            job_id=job.id,
            prices=PriceCache(self._lookups),
            pace=SharedPace(pace),
            pace_options=pace,
            processing=PROCESSING,
        )
        self._wire = WIRES.load(turn.target.wire)
        self._templates = PromptTemplates(spec)
        self._messages: dict[int, tuple[Message, ...] | UsageError] = {}
        self._recorder = GroupRecorder(database, turn.runtime, job_id=job.id)

    def prepare(self, items: Sequence[MapItemRow]) -> None:
        values = [loads(item.input, {}) for item in items]
        rendered = self._templates.render_rows(values)
        self._messages = {item.position: messages for item, messages in zip(items, rendered, strict=True)}

    def build_request(self, item: MapItemRow) -> BatchRequest:
        request = build_chat_request(self._plan.turn, self._get_messages(item))
        check_prompt_size(request, self._plan.turn.target)
        http = self._wire.build_request(self._plan.endpoint, request)
        path = http.url.partition("?")[0].removeprefix(self._plan.endpoint.base_url.rstrip("/")).removeprefix("/v1")
        return BatchRequest("", path, self._plan.turn.target.model, json.loads(http.body))

    def reserve(self, requests: list[BatchRequest]) -> Reservation | None:
        turn = self._plan.turn.replace(cost_limits=self._limits)
        return reserve_requests(self._database, turn, self._plan.prices, requests)

    def reject(self, item: MapItemRow, error: LlmctlError) -> None:
        message = self._plan.redact.text(error.message)
        columns = {"status": "failed", "error_code": error.code, "error": message}
        self._recorder.record([Update("map_items", item.id, columns)])

    def take_in(self, item: MapItemRow, result: BatchResult) -> None:
        exchange = self._begin(item)
        status = result.status_code or (200 if result.kind == "answered" else 400)
        exchange.receive(StoredResponse(status, {}, result.body), wire=result.wire)
        self._recorder.record(order_writes([*exchange.intention[0], *exchange.pop_writes()]))

    def flush(self) -> None:
        self._recorder.flush()
        if self._recorder.storage_error:
            raise self._recorder.storage_error

    def close(self) -> None:
        self._recorder.close()
        self._lookups.close()

    def write_output(self) -> None:
        writer = ResultWriter(self._database, self._job.id, self._spec, self._write_stdout)
        try:
            writer.allow(None)
            writer.write(None)
            writer.publish()
        finally:
            writer.close()

    def _get_messages(self, item: MapItemRow) -> tuple[Message, ...]:
        messages = self._messages[item.position]
        if isinstance(messages, UsageError):
            raise messages
        return messages

    def _begin(self, item: MapItemRow) -> ItemExchange:
        messages = self._get_messages(item)
        pending = PendingItem(item.id, item.position, item.custom_id, {}, item.attempts - 1)
        exchange = ItemExchange(self._database, self._plan, pending, messages)
        exchange.begin()
        return exchange
