"""Tables of the report: groups with a bar each, single requests, failures, tools, chats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import NamedTuple

from llmctl.core.report_data import Dashboard, Figures, Group, Row
from llmctl.formats.report import words

#: Rows of a breakdown, and of a list; what is beyond is folded away.
_SHOWN = 8
_LISTED = 15


class Cell(NamedTuple):
    """A cell: its text, a bar of so many per cent behind it, where it leads, a dot's colour, what else to know."""

    text: str
    bar: float | None = None
    href: str | None = None
    dot: str | None = None
    title: str | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: ``header`` are titles, numbers to the right from column ``right`` on."""

    id: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: int = 1
    more: Sequence[Sequence[Cell]] = ()
    empty: str = "Nothing in this range."


_Measure = tuple[str, Callable[[Figures], str]]
_MEASURES: Sequence[_Measure] = (
    ("cost", lambda f: words.money(f["cost"])),
    ("requests", lambda f: words.number(f["requests"])),
    ("tokens", lambda f: words.compact(f["total_tokens"])),
)
_KINDS: Sequence[_Measure] = (
    ("in", lambda f: words.compact(f["input_tokens"])),
    ("out", lambda f: words.compact(f["output_tokens"])),
    ("failed", lambda f: words.share(f["failed_requests"], f["requests"])),
)
_LATENCY: Sequence[_Measure] = (
    ("p50", lambda f: words.duration(f["p50_duration_ms"])),
    ("p95", lambda f: words.duration(f["p95_duration_ms"])),
    ("first token p50", lambda f: words.duration(f["p50_time_to_first_token_ms"])),
    ("p95", lambda f: words.duration(f["p95_time_to_first_token_ms"])),
)
_CACHE: Sequence[_Measure] = (
    ("cached", lambda f: words.share(f["cached_tokens"], f["input_tokens"])),
    ("saved", lambda f: words.money(f["cache_savings"])),
)


def breakdown(
    id: str,
    title: str,
    groups: Sequence[Group],
    *,
    nameless: str = "none",
    full: bool = False,
    colours: Mapping[str, str] | None = None,
) -> Table:
    """Return groups with a bar of their cost, or of their tokens where nothing cost anything."""
    measures = [*_MEASURES, *((*_KINDS, *_CACHE, *_LATENCY) if full else ())]
    shares = _shares(groups)
    rows = [
        [
            Cell(
                group.name or nameless,
                bar,
                dot=(colours or {}).get(group.name or ""),
                tone="" if group.name else "faint",
            ),
            *(Cell(say(group.figures)) for _, say in measures),
        ]
        for group, bar in zip(groups, shares, strict=True)
    ]
    header = [title.lower().removesuffix("s"), *(name for name, _ in measures)]
    return Table(id, title, header, rows[:_SHOWN], more=rows[_SHOWN:])


def requests(
    id: str, title: str, found: Sequence[Row], link: Callable[[Row], str | None], zone: tzinfo | None
) -> Table:
    """Return single requests."""
    rows = [
        [
            Cell(words.when(row["created_at"], zone), title=f"request {row['id']}"),
            Cell(row["model"]),
            _chat_cell(row, link),
            Cell(row["status"], tone="" if row["status"] == "completed" else "bad"),
            Cell(words.number(row["input_tokens"])),
            Cell(words.number(row["output_tokens"])),
            Cell(words.duration(row["time_to_first_token_ms"])),
            Cell(words.duration(row["duration_ms"])),
            Cell(words.money(row["cost"])),
        ]
        for row in found
    ]
    header = ["when", "model", "chat", "status", "in", "out", "first token", "took", "cost"]
    return Table(id, title, header, rows, right=4)


def statuses(dashboard: Dashboard) -> Table:
    """Return how requests ended."""
    groups, whole = dashboard.statuses, dashboard.total["requests"]
    ordered = sorted(groups, key=lambda group: -group.figures["requests"])
    rows = [
        [
            Cell(group.name or "", 100 * group.figures["requests"] / (whole or 1), tone=_tone(group.name)),
            Cell(words.number(group.figures["requests"])),
            Cell(words.share(group.figures["requests"], whole)),
            Cell(words.money(group.figures["cost"])),
        ]
        for group in ordered
    ]
    return Table("statuses", "How requests ended", ["status", "requests", "share", "cost"], rows)


def reasons(dashboard: Dashboard) -> Table:
    """Return why requests failed."""
    found = dashboard.reasons
    most = max((row["requests"] for row in found), default=1)
    rows = [
        [
            Cell(str(row["reason"]).replace("_", " "), 100 * row["requests"] / most, title=row["example"], tone="bad"),
            Cell(row["provider"]),
            Cell(words.number(row["requests"])),
            Cell(words.when(row["last_at"], dashboard.range.zone)),
        ]
        for row in found
    ]
    of = f" (of the newest {dashboard.reasons_of:,})" if dashboard.reasons_of else ""
    header = ["reason", "provider", "requests", "last"]
    return Table("reasons", f"Why requests failed{of}", header, rows, right=2, empty="No request failed.")


def tools(groups: Sequence[Group]) -> Table:
    """Return what was called how often, and how it went."""
    most = max((group.figures["tool_calls"] for group in groups), default=1)
    rows = [_tool(group, most) for group in groups]
    header = ["tool", "calls", "failed", "share", "time", "a call"]
    empty = "No tool was called."
    return Table("tool-table", "Tools", header, rows[:_LISTED], more=rows[_LISTED:], empty=empty)


def chats(found: Sequence[Row], link: Callable[[Row], str | None], zone: tzinfo | None) -> Table:
    """Return chats with their numbers, in the order they have."""
    rows = [
        [
            Cell(title(row), href=link({"chat_id": row["id"]}), title=row["preview"]),
            Cell(row["agent"] or row["connection"] or ""),
            Cell(row["model"] or ""),
            Cell(words.when(row["last_turn_at"] or row["created_at"], zone)),
            Cell(words.number(row["message_count"])),
            Cell(words.compact((row["input_tokens"] or 0) + (row["output_tokens"] or 0))),
            Cell(words.money(row["cost"])),
        ]
        for row in found
    ]
    header = ["chat", "with", "model", "last turn", "messages", "tokens", "cost"]
    empty = "No chat in this range."
    return Table("chat-table", "Chats", header, rows[:_LISTED], right=4, more=rows[_LISTED:], empty=empty)


def title(chat: Row) -> str:
    """Return what to call a chat: its name, how it begins, or its id."""
    preview = " ".join((chat["preview"] or "").split())
    short = preview if len(preview) <= 60 else preview[:59].rstrip() + "…"
    return str(chat["name"] or short or chat["id"][:8])


def _tool(group: Group, most: int) -> list[Cell]:
    figures = group.figures
    calls, took = figures["tool_calls"], figures["tool_duration_ms"]
    return [
        Cell(group.name or "", 100 * calls / most),
        Cell(words.number(calls)),
        Cell(words.number(figures["failed_tool_calls"]), tone="bad" if figures["failed_tool_calls"] else ""),
        Cell(words.share(figures["failed_tool_calls"], calls)),
        Cell(words.duration(took) if took else words.NOTHING),
        Cell(words.duration(took / calls) if took and calls else words.NOTHING),
    ]


def _chat_cell(row: Row, link: Callable[[Row], str | None]) -> Cell:
    if row["chat_id"] is None:
        return Cell(words.NOTHING)
    return Cell(row["chat"] or row["chat_id"][:8], href=link(row))


def _shares(groups: Sequence[Group]) -> list[float]:
    costs = [group.figures["cost"] or 0 for group in groups]
    sizes = costs if any(costs) else [group.figures["total_tokens"] for group in groups]
    most = max(sizes, default=0) or 1
    return [round(100 * max(0, size) / most, 2) for size in sizes]


def _tone(status: str | None) -> str:
    return {"completed": "good", "failed": "bad"}.get(status or "", "warn")
