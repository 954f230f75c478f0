"""Requests that are no turn, as values: what they have in common, what one of them is, what they come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmctl.core.events import Usage
from llmctl.core.http import HttpRequest
from llmctl.engine.billing.budget import Bound
from llmctl.engine.billing.rates import Price
from llmctl.engine.connections.other_targets import Kind
from llmctl.engine.connections.target import Target
from llmctl.engine.turn.options import Keep, Manner, Origin, Surroundings


class Answer(Protocol):
    """What every answer says beside its content."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def model(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Errand:
    """What the requests of one command have in common."""

    kind: Kind
    target: Target
    manner: Manner
    keep: Keep
    origin: Origin
    around: Surroundings

    @property
    def options(self) -> dict[str, Any]:
        """Return the options that are sent: the command's before the alias's and the connection's."""
        options = {**self.target.options, **self.target.alias_options, **self.manner.options}
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Question:
    """One request. ``kept`` is its body without the content of files; ``bound`` the most it can cost at a price."""

    http: HttpRequest
    kept: str
    bound: Callable[[Price], Bound | None]


@dataclass(slots=True)
class Account:
    """What the requests of a command came to. ``cost`` is None where that of one is not known."""

    model: str
    request_ids: list[str] = field(default_factory=list)
    status: str = "pending"
    usage: Usage = field(default_factory=Usage)
    usage_known: bool = False
    cost: float | None = None
    duration_ms: int = 0
    _answers: int = 0

    def count(self, answer: Answer, cost: float | None) -> None:
        """Count an answer in."""
        self.model = answer.model or self.model
        known = self.cost is not None or not self._answers
        self.cost = (self.cost or 0.0) + cost if known and cost is not None else None
        self._answers += 1
        if (usage := answer.usage) is not None:
            self.usage_known = True
            self.usage = Usage(
                input_tokens=self.usage.input_tokens + usage.input_tokens,
                output_tokens=self.usage.output_tokens + usage.output_tokens,
                cached_tokens=self.usage.cached_tokens + usage.cached_tokens,
            )

    def as_json(self) -> dict[str, Any]:
        """Return what is common to the documents of these commands."""
        return {
            "request_id": self.request_ids[-1] if self.request_ids else None,
            "request_ids": self.request_ids,
            "status": self.status,
            "model": self.model,
            "usage": {
                "input_tokens": self.usage.input_tokens,
                "output_tokens": self.usage.output_tokens,
                "total_tokens": self.usage.total_tokens,
                "cached_tokens": self.usage.cached_tokens,
            },
            "cost": self.cost,
            "duration_ms": self.duration_ms,
        }
