"""Costs of the ledger told again: of what nobody could price then, or of everything at the prices that are kept now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmctl.core import clock
from llmctl.core.events import Usage
from llmctl.core.stored_json import loads
from llmctl.engine.billing import settle
from llmctl.engine.billing.cost import Charge
from llmctl.store.database import Database, Row
from llmctl.store.records import prices
from llmctl.store.writes import Update

#: Requests that are told again in one transaction: others are waiting.
_AT_ONCE = 200
_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens")


@dataclass(slots=True)
class Repriced:
    """What came of it: requests looked at, changed, still without a cost; sums in US dollars."""

    requests: int = 0
    changed: int = 0
    unpriced: int = 0
    before: float = 0.0
    after: float = 0.0

    def record(self, dry_run: bool) -> dict[str, Any]:
        """Return it as a record."""
        return {
            "requests": self.requests,
            "changed": self.changed,
            "unpriced": self.unpriced,
            "cost_before": round(self.before, 12),
            "cost_after": round(self.after, 12),
            "dry_run": dry_run,
        }


def reprice(database: Database, *, since: str | None, everything: bool, dry_run: bool) -> Repriced:
    """Price requests again at the price of their time. What a provider said itself is left alone.

    Without ``everything`` only those that have no cost. The hourly sums follow by their triggers.
    """
    total = Repriced()
    for batch in prices.batches(database, since=since, everything=everything, size=_AT_ONCE):
        writes = list(_writes([(row, _charge(database, row)) for row in batch], total))
        if writes and not dry_run:
            database.commit(*writes)
    return total


def _writes(found: list[tuple[Row, Charge]], total: Repriced) -> Iterator[Update]:
    for row, charge in found:
        before = _cost(row)
        total.requests += 1
        total.before += before or 0.0
        total.after += charge.cost or 0.0
        total.unpriced += charge.cost is None
        if charge.cost is not None and (charge.cost != before or charge.price_id != row["price_id"]):
            total.changed += 1
            changes = charge.columns() | {"reserved_cost": None, "updated_at": clock.now()}
            yield Update("requests", row["id"], changes)
        elif charge.cost is None and before is not None:
            total.after += before  # a price that is gone leaves what was told then


def _charge(database: Database, row: Row) -> Charge:
    return settle.charge(database, row, _usage(row), row["response_model"], looks_up=True)


def _cost(row: Row) -> float | None:
    """Return the cost that is kept; other programs write 0 where they do not know."""
    return None if row["origin"] == "orm" and not row["cost"] else row["cost"]


def _usage(row: Row) -> Usage | None:
    if all(row[name] is None for name in _COUNTS):
        return None
    counts: dict[str, Any] = {name: row[name] or 0 for name in _COUNTS}
    return Usage(**counts, details=loads(row["usage_details"], {}))
