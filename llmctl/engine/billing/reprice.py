"""Recalculate the cost of requests: of those without a cost, or of all that were priced here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import Usage
from llmctl.core.stored_values import loads
from llmctl.engine.billing.cost import Cost, calculate_stored_cost
from llmctl.store.database import Database, Update
from llmctl.store.records import models
from llmctl.store.records.types import RequestRow

#: Requests per transaction: other writers are waiting.
_BATCH_SIZE = 200
_TOKEN_COLUMNS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens")


@dataclass(slots=True)
class RepriceReport:
    """Numbers of requests checked, changed and still without a cost; sums in US dollars."""

    requests: int = 0
    changed: int = 0
    unpriced: int = 0
    before: float = 0.0
    after: float = 0.0

    def to_record(self, dry_run: bool) -> dict[str, Any]:
        """Return the report as a record."""
        return {
            "requests": self.requests,
            "changed": self.changed,
            "unpriced": self.unpriced,
            "cost_before": round(self.before, 12),
            "cost_after": round(self.after, 12),
            "dry_run": dry_run,
        }


def reprice(database: Database, *, since: str | None, everything: bool, dry_run: bool) -> RepriceReport:
    """Recalculate the cost of requests at the price of their time; costs reported by providers stay.

    Without ``everything`` only requests that have no cost. Triggers update the usage roll-ups.
    """
    report = RepriceReport()
    for batch in models.requests_to_price(database, since=since, everything=everything, size=_BATCH_SIZE):
        writes = list(_build_updates([(row, _calculate_cost(database, row)) for row in batch], report))
        if writes and not dry_run:
            database.commit(*writes)
    return report


def _build_updates(priced: list[tuple[RequestRow, Cost]], report: RepriceReport) -> Iterator[Update]:
    for row, cost in priced:
        before = _stored_cost(row)
        report.requests += 1
        report.before += before or 0.0
        report.after += cost.amount or 0.0
        report.unpriced += cost.amount is None
        if cost.amount is not None and (cost.amount != before or cost.price_id != row.price_id):
            report.changed += 1
            changes = cost.to_columns() | {"reserved_cost": None, "updated_at": clock.now()}
            yield Update("requests", row.id, changes)
        elif cost.amount is None and before is not None:
            report.after += before  # the price no longer exists: the cost stays


def _calculate_cost(database: Database, row: RequestRow) -> Cost:
    return calculate_stored_cost(database, row, _stored_usage(row), row.response_model, looks_up=True)


def _stored_cost(row: RequestRow) -> float | None:
    """Return the stored cost; other programs store 0 for an unknown one."""
    return None if row.origin == "orm" and not row.cost else row.cost


def _stored_usage(row: RequestRow) -> Usage | None:
    if all(getattr(row, name) is None for name in _TOKEN_COLUMNS):
        return None
    counts: dict[str, Any] = {name: getattr(row, name) or 0 for name in _TOKEN_COLUMNS}
    details = loads(row.usage_details, {})
    tier = details.pop("service_tier", None)
    unknown = next((side for side in ("input", "output") if getattr(row, f"{side}_tokens") is None), None)
    return Usage(**counts, details=details, service_tier=tier, unknown=unknown)
