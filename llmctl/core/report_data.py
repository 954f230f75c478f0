"""The data of a report, between the engine, which collects it, and the format, which renders it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Literal

from llmctl.core.values import Value

#: The fields of ``stats --json``.
Figures = Mapping[str, Any]
Unit = Literal["hour", "day", "month"]


class UsageGroup(Value):
    """One group of usage figures; ``name`` is None for rows without one."""

    name: str | None
    figures: Figures


class RequestSummary(Value):
    """A request; ``chat`` is the name of its chat. ``cost`` is in US dollars."""

    id: str
    created_at: str
    chat_id: str | None
    chat: str | None
    model: str
    status: str
    input_tokens: int | None
    output_tokens: int | None
    time_to_first_token_ms: int | None
    duration_ms: int | None
    cost: float | None


class FailureReason(Value):
    """Why requests to a provider failed: how many, when last, and the message of one."""

    reason: str
    provider: str
    requests: int
    last_at: str
    example: str | None


class ChatSummary(Value):
    """A chat with the totals of all its requests; ``preview`` is its beginning."""

    id: str
    name: str | None
    preview: str | None
    agent: str | None
    connection: str | None
    model: str | None
    last_turn_at: str | None
    created_at: str
    message_count: int
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None

    @property
    def used_at(self) -> str:
        return self.last_turn_at or self.created_at


class ReportRange(Value):
    """The time range of a report, as stored times; None is open. ``unit`` is the step of the charts."""

    since: str | None
    until: str | None
    zone: tzinfo | None
    zone_name: str
    unit: Unit
    written_at: str


class ReportData(Value):
    """All data of a report. Time groups ascend without gaps; others start with the most expensive or busiest."""

    hub: str
    range: ReportRange
    total: Figures
    #: The totals of the preceding range of equal length; None if the range has no start.
    previous_total: Figures | None
    time_series: Sequence[UsageGroup]
    #: (moment, model) -> figures.
    by_model: Mapping[tuple[str, str], Figures]
    models: Sequence[UsageGroup]
    providers: Sequence[UsageGroup]
    agents: Sequence[UsageGroup]
    tags: Sequence[UsageGroup]
    projects: Sequence[UsageGroup]
    statuses: Sequence[UsageGroup]
    tools: Sequence[UsageGroup]
    #: Figures by day (``2026-10-05``); of a longer range only the last year.
    daily: Mapping[str, Figures]
    #: Milliseconds -> number of requests that took so long, to the end and to the first token.
    durations: Mapping[int, int]
    first_tokens: Mapping[int, int]
    slowest: Sequence[RequestSummary]
    most_expensive: Sequence[RequestSummary]
    #: Why requests failed, and how many of the newest requests were examined; None for all.
    failure_reasons: Sequence[FailureReason]
    failure_sample_size: int | None
    chats: Sequence[ChatSummary] = ()
