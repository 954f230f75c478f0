"""Tables and summary cards of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from llmctl.core import clock
from llmctl.core.humanize import (
    NO_VALUE,
    format_change,
    format_compact,
    format_count,
    format_date,
    format_dollars,
    format_duration,
    format_percent,
    format_time,
    format_title,
    pluralize,
)
from llmctl.core.report_data import ChatSummary, Figures, ReportData, RequestSummary, UsageGroup
from llmctl.core.values import Value

#: From the id of a chat to the URL of its thread, if there is one.
_Link = Callable[[str | None], str | None]
_Measure = tuple[str, Callable[[Figures], str]]
#: Rows shown of a breakdown and of a list; the rest is collapsed.
_BREAKDOWN_ROWS = 8
_LIST_ROWS = 15
_MEASURES: Sequence[_Measure] = (
    ("cost", lambda f: format_dollars(f["cost"])),
    ("requests", lambda f: format_count(f["requests"])),
    ("tokens", lambda f: format_compact(f["total_tokens"])),
)
_KINDS: Sequence[_Measure] = (
    ("in", lambda f: format_compact(f["input_tokens"])),
    ("out", lambda f: format_compact(f["output_tokens"])),
    ("failed", lambda f: format_percent(f["failed_requests"], f["requests"])),
)
_LATENCY: Sequence[_Measure] = (
    ("p50", lambda f: format_duration(f["p50_duration_ms"])),
    ("p95", lambda f: format_duration(f["p95_duration_ms"])),
    ("first token p50", lambda f: format_duration(f["p50_time_to_first_token_ms"])),
    ("p95", lambda f: format_duration(f["p95_time_to_first_token_ms"])),
)
_CACHE: Sequence[_Measure] = (
    ("cached", lambda f: format_percent(f["cached_tokens"], f["input_tokens"])),
    ("saved", lambda f: format_dollars(f["cache_savings"])),
)


class TableCell(Value):
    """A cell: text, a bar in percent, a link, the color of a dot, a tooltip, a CSS class."""

    text: str
    bar: float | None = None
    href: str | None = None
    dot: str | None = None
    title: str | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table: ``header`` are column titles; columns from ``right`` on are right-aligned numbers."""

    id: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    right: int = 1
    more: Sequence[Sequence[TableCell]] = ()
    empty: str = "Nothing in this range."


class Card(Value):
    """A summary figure: label, value, note, change from the previous period, tooltip."""

    label: str
    value: str
    note: str
    change: str | None = None
    title: str | None = None


def breakdown_table(
    id: str,
    title: str,
    groups: Sequence[UsageGroup],
    *,
    nameless: str = "none",
    full: bool = False,
    colors: Mapping[str, str] | None = None,
) -> ReportTable:
    """Return groups with a bar for their cost, or for their tokens if there is no cost."""
    measures = [*_MEASURES, *((*_KINDS, *_CACHE, *_LATENCY) if full else ())]
    shares = _bar_percents(groups)
    rows = [
        [
            TableCell(
                group.name or nameless,
                bar,
                dot=(colors or {}).get(group.name or ""),
                tone="" if group.name else "faint",
            ),
            *(TableCell(format_value(group.figures)) for _, format_value in measures),
        ]
        for group, bar in zip(groups, shares, strict=True)
    ]
    header = [title.lower().removesuffix("s"), *(name for name, _ in measures)]
    return ReportTable(id, title, header, rows[:_BREAKDOWN_ROWS], more=rows[_BREAKDOWN_ROWS:])


def request_table(
    id: str, title: str, requests: Sequence[RequestSummary], link: _Link, zone: tzinfo | None
) -> ReportTable:
    """Return individual requests."""
    rows = [
        [
            TableCell(format_time(request.created_at, zone), title=f"request {request.id}"),
            TableCell(request.model),
            _chat_cell(request, link),
            TableCell(request.status, tone="" if request.status == "completed" else "bad"),
            TableCell(format_count(request.input_tokens)),
            TableCell(format_count(request.output_tokens)),
            TableCell(format_duration(request.time_to_first_token_ms)),
            TableCell(format_duration(request.duration_ms)),
            TableCell(format_dollars(request.cost)),
        ]
        for request in requests
    ]
    header = ["when", "model", "chat", "status", "in", "out", "first token", "took", "cost"]
    return ReportTable(id, title, header, rows, right=4)


def status_table(report: ReportData) -> ReportTable:
    """Return requests by status."""
    groups, whole = report.statuses, report.total["requests"]
    ordered = sorted(groups, key=lambda group: -group.figures["requests"])
    rows = [
        [
            TableCell(group.name or "", 100 * group.figures["requests"] / (whole or 1), tone=_status_tone(group.name)),
            TableCell(format_count(group.figures["requests"])),
            TableCell(format_percent(group.figures["requests"], whole)),
            TableCell(format_dollars(group.figures["cost"])),
        ]
        for group in ordered
    ]
    return ReportTable("statuses", "How requests ended", ["status", "requests", "share", "cost"], rows)


def failure_table(report: ReportData) -> ReportTable:
    """Return failed requests by reason."""
    failures = report.failure_reasons
    maximum = max((failure.requests for failure in failures), default=1)
    rows = [
        [
            TableCell(
                failure.reason.replace("_", " "), 100 * failure.requests / maximum, title=failure.example, tone="bad"
            ),
            TableCell(failure.provider),
            TableCell(format_count(failure.requests)),
            TableCell(format_time(failure.last_at, report.range.zone)),
        ]
        for failure in failures
    ]
    of = f" (of the newest {report.failure_sample_size:,})" if report.failure_sample_size else ""
    header = ["reason", "provider", "requests", "last"]
    return ReportTable("reasons", f"Why requests failed{of}", header, rows, right=2, empty="No requests failed.")


def tool_table(groups: Sequence[UsageGroup]) -> ReportTable:
    """Return tools by number of calls, with failures and durations."""
    maximum = max((group.figures["tool_calls"] for group in groups), default=1)
    rows = [_tool_cells(group, maximum) for group in groups]
    header = ["tool", "calls", "failed", "share", "time", "a call"]
    empty = "No tools were called."
    return ReportTable("tool-table", "Tools", header, rows[:_LIST_ROWS], more=rows[_LIST_ROWS:], empty=empty)


def chat_table(chats: Sequence[ChatSummary], link: _Link, zone: tzinfo | None) -> ReportTable:
    """Return chats with their totals, in the given order."""
    rows = [
        [
            TableCell(format_title(chat.name, chat.preview, chat.id), href=link(chat.id), title=chat.preview),
            TableCell(chat.agent or chat.connection or ""),
            TableCell(chat.model or ""),
            TableCell(format_time(chat.used_at, zone)),
            TableCell(format_count(chat.message_count)),
            TableCell(format_compact((chat.input_tokens or 0) + (chat.output_tokens or 0))),
            TableCell(format_dollars(chat.cost)),
        ]
        for chat in chats
    ]
    header = ["chat", "with", "model", "last turn", "messages", "tokens", "cost"]
    empty = "No chats in this range."
    return ReportTable("chat-table", "Chats", header, rows[:_LIST_ROWS], right=4, more=rows[_LIST_ROWS:], empty=empty)


def build_cards(report: ReportData) -> list[Card]:
    """Return the summary cards at the top of the report."""
    total, before = report.total, report.previous_total or {}
    return [
        Card(
            label,
            format_value(total),
            note(total),
            format_change(total[field], before.get(field)),
            _full_count(total[field], field),
        )
        for label, field, format_value, note in _CARDS
    ]


def format_range(report: ReportData) -> str:
    """Return the range as its first and last day."""
    range, total = report.range, report.total
    since = range.since or total["first_at"]
    until = range.until or (total["last_at"] if range.since is None else None) or range.written_at
    if since is None:
        return "no requests yet"
    if range.until:  # exclusive
        until = clock.add_seconds(min(range.until, range.written_at), -0.001)
    first, last = format_date(since, range.zone), format_date(max(since, until), range.zone)
    return first if first == last else f"{first} to {last}"


def _tool_cells(group: UsageGroup, maximum: int) -> list[TableCell]:
    figures = group.figures
    calls, took = figures["tool_calls"], figures["tool_duration_ms"]
    return [
        TableCell(group.name or "", 100 * calls / maximum),
        TableCell(format_count(calls)),
        TableCell(format_count(figures["failed_tool_calls"]), tone="bad" if figures["failed_tool_calls"] else ""),
        TableCell(format_percent(figures["failed_tool_calls"], calls)),
        TableCell(format_duration(took) if took else NO_VALUE),
        TableCell(format_duration(took / calls) if took and calls else NO_VALUE),
    ]


def _chat_cell(request: RequestSummary, link: _Link) -> TableCell:
    if request.chat_id is None:
        return TableCell(NO_VALUE)
    return TableCell(request.chat or request.chat_id[:8], href=link(request.chat_id))


def _bar_percents(groups: Sequence[UsageGroup]) -> list[float]:
    costs = [group.figures["cost"] or 0 for group in groups]
    sizes = costs if any(costs) else [group.figures["total_tokens"] for group in groups]
    maximum = max(sizes, default=0) or 1
    return [round(100 * max(0, size) / maximum, 2) for size in sizes]


def _status_tone(status: str | None) -> str:
    return {"completed": "good", "failed": "bad"}.get(status or "", "warn")


def _full_count(value: float | None, field: str) -> str | None:
    """Return the exact value of a count that is shown in compact form."""
    return format_count(value) if field in ("requests", "total_tokens", "tool_calls") else None


def _cost_note(total: Figures) -> str:
    if total["unpriced_requests"]:
        return f"without {pluralize(total['unpriced_requests'], 'request')} of unknown price"
    return (
        f"{format_dollars(total['cost'] / total['requests'])} a request" if total["cost"] and total["requests"] else ""
    )


def _token_note(total: Figures) -> str:
    return f"{format_compact(total['input_tokens'])} in, {format_compact(total['output_tokens'])} out"


def _failure_note(total: Figures) -> str:
    retries = f"{total['retries']:,} {'retry' if total['retries'] == 1 else 'retries'}"
    return f"{pluralize(total['failed_requests'], 'request')}; {retries}"


def _tool_note(total: Figures) -> str:
    return (
        f"{format_percent(total['failed_tool_calls'], total['tool_calls'])} failed" if total["tool_calls"] else "none"
    )


def _cache_note(total: Figures) -> str:
    note = f"{format_percent(total['cached_tokens'], total['input_tokens'])} of input was cached"
    if not total.get("cached_requests"):
        return note
    answers = pluralize(total["cached_requests"], "stored answer")
    return f"{note}; {answers} saved {format_dollars(total['saved_cost'])}"


_FigureText = Callable[[Figures], str]
#: Label, the field compared with the previous period, how to format the value, and a note.
_CARDS: Sequence[tuple[str, str, _FigureText, _FigureText]] = (
    ("Cost", "cost", lambda f: format_dollars(f["cost"]), _cost_note),
    (
        "Requests",
        "requests",
        lambda f: format_compact(f["requests"]),
        lambda f: f"{format_compact(f['messages'])} messages",
    ),
    ("Tokens", "total_tokens", lambda f: format_compact(f["total_tokens"]), _token_note),
    (
        "Saved by caching",
        "cache_savings",
        lambda f: format_dollars(f["cache_savings"]),
        _cache_note,
    ),
    (
        "Latency",
        "p50_duration_ms",
        lambda f: format_duration(f["p50_duration_ms"]),
        lambda f: f"median; p95 {format_duration(f['p95_duration_ms'])}",
    ),
    (
        "First token",
        "p50_time_to_first_token_ms",
        lambda f: format_duration(f["p50_time_to_first_token_ms"]),
        lambda f: f"median; p95 {format_duration(f['p95_time_to_first_token_ms'])}",
    ),
    (
        "Failed",
        "failed_requests",
        lambda f: format_percent(f["failed_requests"], f["requests"]),
        _failure_note,
    ),
    ("Tool calls", "tool_calls", lambda f: format_compact(f["tool_calls"]), _tool_note),
)
