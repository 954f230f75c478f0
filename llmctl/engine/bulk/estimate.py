"""What a map would cost and take: counted row by row, sending nothing."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import Any

from llmctl.core.errors import BudgetError
from llmctl.core.http import Endpoint
from llmctl.core.values import Value
from llmctl.engine.billing.cost import CommandBudget, CostEstimate, CostLimits, CostTracker, PriceCache
from llmctl.engine.bulk.jobs import PromptTemplates
from llmctl.engine.bulk.pace import MAX_PARALLEL, PaceOptions
from llmctl.engine.bulk.spec import MapSpec
from llmctl.engine.models import rates
from llmctl.engine.turn.plan import TurnPlan, build_chat_request
from llmctl.store.database import Database
from llmctl.store.records import requests
from llmctl.wire import WIRES

_CHUNK = 200
_CHARS_PER_TOKEN = 4


class RowEstimate(Value):
    """Tokens of one row: about, and at most."""

    input_tokens: int
    bound: CostEstimate | None
    max_input_tokens: int


def estimate_map(database: Database, spec: MapSpec, turn: TurnPlan, pace: PaceOptions) -> dict[str, Any]:
    """Return the number of rows, tokens and cost (about, and at most) and seconds; None where it is unknown.

    Input is counted by its characters; output and time are those of this model's latest answers in the hub. The most is
    what ``--max-cost`` reserves. Raises UsageError like a map does.
    """
    found = list_row_estimates(database, spec, turn)
    usual = requests.average_usage(database, turn.target.provider.name, turn.target.model)
    rows, input_tokens = len(found), sum(row.input_tokens for row in found)
    output_tokens = None if usual is None else round(usual.output_tokens * rows)
    bounds = [row.bound for row in found if row.bound]
    is_priced = len(bounds) == rows
    return {
        "model": spec.model,
        "rows": rows,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cost": _likely_cost(bounds, input_tokens, output_tokens) if is_priced and rows else None,
        "max_input_tokens": sum(row.max_input_tokens for row in found),
        "max_cost": sum(bound.cost for bound in bounds) if is_priced else None,
        "seconds": _estimate_seconds(rows, None if usual is None else usual.duration_ms, pace),
    }


def list_row_estimates(database: Database, spec: MapSpec, turn: TurnPlan) -> list[RowEstimate]:
    """Return the estimate of each row that can be sent."""
    templates, target = PromptTemplates(spec), turn.target
    wire, endpoint = WIRES.load(target.wire), Endpoint(target.base_url, {}, target.query, target.provider.dialect)
    tracker = CostTracker(database, target, CostLimits(CommandBudget(float("inf"))), PriceCache(database))
    found: list[RowEstimate] = []
    rows = spec.source.iter_rows()
    while chunk := list(islice(rows, _CHUNK)):
        for row in chunk:
            templates.check(row)
        for messages in templates.render_rows([row.values for row in chunk]):
            if not isinstance(messages, tuple):
                continue
            request = build_chat_request(turn, messages)
            body = wire.build_request(endpoint, request).body
            bound: CostEstimate | None = None
            with suppress(BudgetError):
                reservation = tracker.prepare_reservation(request, lambda body=body: body)  # type: ignore[misc]
                bound = reservation.estimate if reservation else CostEstimate(0, 0, 0.0, 0.0)
            chars = sum(len(message.text) for message in messages)
            found.append(RowEstimate(chars // _CHARS_PER_TOKEN + 1, bound, rates.max_input_tokens(body, (), None)))
    return found


def _likely_cost(bounds: list[CostEstimate], input_tokens: int, output_tokens: int | None) -> float | None:
    """Return the cost of so many tokens at the rates of the bounds."""
    most_input, most_output = sum(b.input_tokens for b in bounds), sum(b.output_tokens for b in bounds)
    input_cost = sum(bound.input_cost for bound in bounds)
    output_cost = sum(bound.cost for bound in bounds) - input_cost
    if not most_input:
        return 0.0
    if output_tokens is None:
        return None
    return input_cost * input_tokens / most_input + output_cost * output_tokens / max(most_output, 1)


def _estimate_seconds(rows: int, duration_ms: float | None, pace: PaceOptions) -> float | None:
    by_rate = rows / pace.rpm * 60 if pace.rpm else 0.0
    if duration_ms is None:
        return by_rate or None
    return max(by_rate, rows * duration_ms / 1000 / (pace.parallel or MAX_PARALLEL))
