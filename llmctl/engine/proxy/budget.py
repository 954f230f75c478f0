"""The limits on what passes through a proxy: of the proxy itself, of an app, and of the hub.

A request under a limit is a row with its highest cost before it is sent, in the transaction that checks the limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.errors import BudgetError
from llmctl.core.stored_values import dumps
from llmctl.core.values import Value
from llmctl.engine.billing.cost import CostLimits, CostTracker, Reservation, cost_limits
from llmctl.engine.proxy.exchange_rows import ORIGIN, ExchangeFacts, find_target
from llmctl.engine.turn.records import timestamps
from llmctl.store.database import Database, Insert
from llmctl.store.records import proxied
from llmctl.store.records.types import ProxyAppRow
from llmctl.wire.incoming import Operation, parse_request

_ROUNDING_ERROR = 1e-12


class _Cap(Value):
    """A limit that is no setting of the hub."""

    name: str
    limit: float
    #: What is counted: the requests of a job, or of an app since a time.
    job_id: str | None
    app: str | None
    since: str


class ProxyBudget:
    """Reserves what requests may cost."""

    def __init__(
        self,
        database: Database,
        settings: Mapping[str, Any],
        max_cost: float | None,
        find_app: Callable[[str | None, str | None], ProxyAppRow | None],
        env: Mapping[str, str],
    ) -> None:
        self._database = database
        self._limits = cost_limits(settings)
        self._max_cost = max_cost
        self._find_app = find_app
        self._env = env

    def reserve(self, exchange_id: str, about: Mapping[str, Any], body: bytes) -> None:
        """Reserve the highest cost of a request, where a limit applies to it.

        Raises BudgetError where it exceeds one, where its price is unknown, and where its body cannot be read.
        """
        facts = ExchangeFacts(**about)
        caps = list(self._list_caps(facts))
        if not caps and not self._limits:
            return
        if facts.kind != "chat":
            self._check_spent(caps)
            return
        reservation = self._prepare(facts, body)
        if reservation is None:  # it costs nothing
            return
        with self._database.transaction(durable=True):
            for cap in caps:
                self._check(cap, reservation.estimate.cost)
            reservation.reserve(self._database)
            self._database.commit(Insert("requests", _reserved_row(exchange_id, facts, reservation)))

    def _list_caps(self, facts: ExchangeFacts) -> list[_Cap]:
        now = clock.now()
        app = self._find_app(None, facts.app)
        caps = [] if self._max_cost is None else [_Cap("--max-cost", self._max_cost, facts.job_id, None, "")]
        if app and app.max_cost_day is not None:
            caps.append(_Cap(f'the day of "{app.name}"', app.max_cost_day, None, app.name, f"{now[:10]}T00:00:00"))
        if app and app.max_cost_month is not None:
            caps.append(
                _Cap(f'the month of "{app.name}"', app.max_cost_month, None, app.name, f"{now[:7]}-01T00:00:00")
            )
        return caps

    def _check_spent(self, caps: list[_Cap]) -> None:
        """Refuse embeddings and images, which nobody can bound before they are made, once a limit is reached."""
        for cap in caps:
            self._check(cap, 0.0 + _ROUNDING_ERROR * 2)

    def _prepare(self, facts: ExchangeFacts, body: bytes) -> Reservation | None:
        if not body:
            raise BudgetError("a body over 8 MB is not allowed under a cost limit", reason="too_large")
        try:
            request = parse_request(Operation(facts.wire, "chat", facts.model), body)
        except ValueError as error:
            raise BudgetError(f"its cost cannot be limited: {error}", reason="unparsed") from None
        target = find_target(facts)
        limits = self._limits or CostLimits(day=math.inf)
        tracker = CostTracker(self._database, target.replace(model=request.model), limits, env=self._env)
        return tracker.prepare_reservation(request, lambda: body)

    def _check(self, cap: _Cap, cost: float) -> None:
        left = cap.limit - proxied.get_spending(self._database, cap.job_id, cap.app, cap.since)
        if cost > left + _ROUNDING_ERROR:
            raise BudgetError(
                f"{cap.name} allows ${cap.limit:g}: ${max(left, 0):.4f} are left, and this request may cost ${cost:.4f}"
            )


def _reserved_row(exchange_id: str, facts: ExchangeFacts, reservation: Reservation) -> dict[str, Any]:
    return {
        "id": exchange_id,
        "job_id": facts.job_id,
        "status": "pending",
        "origin": ORIGIN,
        "provider": find_target(facts).provider.name,
        "model": facts.model or "",
        "connection": facts.connection,
        "app": facts.app,
        "client": facts.client,
        "folder": facts.folder,
        "project": facts.project,
        "parameters": dumps({"bound": reservation.estimate.token_counts()}),
        **reservation.to_columns(),
        **timestamps(facts.at),
    }
