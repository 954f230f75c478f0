"""The figures at the top of a report, and its range in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from llmctl.core import clock
from llmctl.core.report_data import Dashboard, Figures
from llmctl.formats.report import words


class Card(NamedTuple):
    """A figure: what it is of, how much, what else to know, and its change from the time before."""

    label: str
    value: str
    note: str
    change: str | None = None
    title: str | None = None


def cards(dashboard: Dashboard) -> list[Card]:
    """Return the figures that a glance should meet."""
    total, before = dashboard.total, dashboard.before or {}
    return [
        Card(label, say(total), note(total), words.change(total[field], before.get(field)), _full(total[field], field))
        for label, field, say, note in _CARDS
    ]


def range_words(dashboard: Dashboard) -> str:
    """Return the range in words: its first and last day."""
    range, total = dashboard.range, dashboard.total
    since = range.since or total["first_at"]
    until = range.until or (total["last_at"] if range.since is None else None) or range.written_at
    if since is None:
        return "nothing yet"
    if range.until:  # which does not belong to it
        until = clock.later(min(range.until, range.written_at), -0.001)
    first, last = words.date(since, range.zone), words.date(max(since, until), range.zone)
    return first if first == last else f"{first} to {last}"


def _full(value: float | None, field: str) -> str | None:
    """Return a count that is shown in short, in full."""
    return words.number(value) if field in ("requests", "total_tokens", "tool_calls") else None


def _cost_note(total: Figures) -> str:
    if total["unpriced_requests"]:
        return f"without {words.plural(total['unpriced_requests'], 'request')} of unknown price"
    return f"{words.money(total['cost'] / total['requests'])} a request" if total["cost"] and total["requests"] else ""


def _token_note(total: Figures) -> str:
    return f"{words.compact(total['input_tokens'])} in, {words.compact(total['output_tokens'])} out"


def _failure_note(total: Figures) -> str:
    retries = f"{total['retries']:,} {'retry' if total['retries'] == 1 else 'retries'}"
    return f"{words.plural(total['failed_requests'], 'request')}; {retries}"


def _tool_note(total: Figures) -> str:
    return f"{words.share(total['failed_tool_calls'], total['tool_calls'])} failed" if total["tool_calls"] else "none"


_Say = Callable[[Figures], str]
#: Label, the field that is compared with the time before, its value and what to add.
_CARDS: Sequence[tuple[str, str, _Say, _Say]] = (
    ("Cost", "cost", lambda f: words.money(f["cost"]), _cost_note),
    (
        "Requests",
        "requests",
        lambda f: words.compact(f["requests"]),
        lambda f: f"{words.compact(f['messages'])} messages",
    ),
    ("Tokens", "total_tokens", lambda f: words.compact(f["total_tokens"]), _token_note),
    (
        "Saved by caching",
        "cache_savings",
        lambda f: words.money(f["cache_savings"]),
        lambda f: f"{words.share(f['cached_tokens'], f['input_tokens'])} of input was cached",
    ),
    (
        "Latency",
        "p50_duration_ms",
        lambda f: words.duration(f["p50_duration_ms"]),
        lambda f: f"median; p95 {words.duration(f['p95_duration_ms'])}",
    ),
    (
        "First token",
        "p50_time_to_first_token_ms",
        lambda f: words.duration(f["p50_time_to_first_token_ms"]),
        lambda f: f"median; p95 {words.duration(f['p95_time_to_first_token_ms'])}",
    ),
    ("Failed", "failed_requests", lambda f: words.share(f["failed_requests"], f["requests"]), _failure_note),
    ("Tool calls", "tool_calls", lambda f: words.compact(f["tool_calls"]), _tool_note),
)
