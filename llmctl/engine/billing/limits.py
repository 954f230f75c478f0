"""Caps on cost: what a command may cost, and what the hub may cost in a day and in a month (UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple


class Purse:
    """What one command may spend, with all its steps, retries, fallbacks and sub-agents; safe for threads."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._spent = 0.0
        self._set_aside = 0.0
        self._lock = Lock()

    @property
    def left(self) -> float:
        return self.limit - self._spent - self._set_aside

    def take(self, amount: float) -> bool:
        """Set an amount aside; False where it does not fit."""
        with self._lock:
            if amount > self.left + 1e-12:
                return False
            self._set_aside += amount
            return True

    def settle(self, amount: float, cost: float) -> None:
        """Put what was set aside back, and take out what it cost."""
        with self._lock:
            self._set_aside -= amount
            self._spent += cost


class Caps(NamedTuple):
    """The caps that a request has to fit under, in US dollars; None: no such cap."""

    purse: Purse | None = None
    day: float | None = None
    month: float | None = None

    def __bool__(self) -> bool:
        return self.purse is not None or self.day is not None or self.month is not None


def caps(settings: Mapping[str, Any], purse: Purse | None = None) -> Caps:
    """Return the caps of a command: the hub's settings, and its own purse."""
    return Caps(purse, settings.get("budget.day"), settings.get("budget.month"))
