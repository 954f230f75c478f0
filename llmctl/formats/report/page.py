"""The page of a report, piece by piece: numbers, charts, lists, and the threads that belong to it."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from llmctl.core.report_data import Dashboard, Row
from llmctl.formats import html, templates
from llmctl.formats.exports import Conversation
from llmctl.formats.report import cards, tables, trends, words
from llmctl.formats.report.calendar import calendar


class View(NamedTuple):
    """How the page is shown. ``threads`` are the ids of chats that can be read, under ``thread_url``.

    ``periods`` are links to other ranges (words, address, whether it is this one); with them the page is live.
    """

    theme: str = "system"
    version: str = ""
    threads: frozenset[str] | None = frozenset()
    thread_url: str = "#thread-{}"
    periods: Sequence[tuple[str, str, bool]] = ()

    def link(self, row: Row) -> str | None:
        """Return the address of the thread of a row's chat, if there is one."""
        id = row["chat_id"]
        readable = id is not None and (self.threads is None or id in self.threads)
        return self.thread_url.format(id) if readable else None


def pieces(dashboard: Dashboard, view: View, conversations: Iterable[Conversation] = ()) -> Iterator[str]:
    """Yield the report, and behind it the threads that its links lead to."""
    values = _values(dashboard, view) | {"threads": ()}
    yield from templates.document("head.html", values)
    yield from templates.document("body.html", values)
    for conversation in conversations:
        yield from _thread(conversation, "#chats")
    yield from templates.document("foot.html", values)


def thread(conversation: Conversation, view: View, back: str) -> Iterator[str]:
    """Yield a page of one conversation."""
    values = _frame(view) | {"title": conversation.title}
    yield from templates.document("head.html", values)
    yield from _thread(conversation, back)
    yield from templates.document("foot.html", values)


def notice(title: str, text: str, view: View) -> Iterator[str]:
    """Yield a page that says one thing."""
    yield from templates.document("notice.html", _frame(view) | {"title": title, "text": text})


def policy(*, live: bool) -> str:
    """Return the content security policy: no script at all, no style but ours, nothing from elsewhere."""
    digest = b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    forms = "'self'" if live else "'none'"
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action {forms}"


def _thread(conversation: Conversation, back: str) -> Iterator[str]:
    values = {"id": conversation.chat["id"], "back": back}
    yield from templates.document("thread_begin.html", values)
    yield from html.section(conversation)
    yield from templates.document("thread_end.html", values)


def _frame(view: View) -> dict[str, Any]:
    return {
        "theme": view.theme,
        "version": view.version,
        "live": bool(view.periods),
        "policy": policy(live=bool(view.periods)),
        "style": _style(),
    }


def _values(dashboard: Dashboard, view: View) -> dict[str, Any]:
    zone = dashboard.range.zone
    colours = trends.colours(dashboard.models)
    return _frame(view) | {
        "title": f"llmctl report, {cards.range_words(dashboard)}",
        "hub": dashboard.hub,
        "span": cards.range_words(dashboard),
        "zone": dashboard.range.zone_name,
        "written": words.when(dashboard.range.written_at, zone),
        "periods": view.periods,
        "since": words.day(dashboard.range.since, zone),
        "until": words.day(dashboard.range.until, zone),
        "is_empty": not dashboard.total["requests"] and not dashboard.chats and not dashboard.tools,
        "cards": cards.cards(dashboard),
        "trends": trends.over_time(dashboard, colours),
        "calendar": calendar(dashboard.days),
        "latency": trends.latency(dashboard),
        "failures": trends.failures(dashboard),
        "models": tables.breakdown("model-table", "Models", dashboard.models, full=True, colours=colours),
        "parties": _parties(dashboard),
        "statuses": tables.statuses(dashboard),
        "reasons": tables.reasons(dashboard),
        "requests": [
            tables.requests("dearest", "Dearest requests", dashboard.dearest, view.link, zone),
            tables.requests("slowest", "Slowest requests", dashboard.slowest, view.link, zone),
        ],
        "tools": tables.tools(dashboard.tools),
        "chats": tables.chats(dashboard.chats, view.link, zone),
    }


def _parties(dashboard: Dashboard) -> list[tables.Table]:
    return [
        tables.breakdown("providers", "Providers", dashboard.providers),
        tables.breakdown("agents", "Agents", dashboard.agents, nameless="no agent"),
        tables.breakdown("tags", "Tags", dashboard.tags, nameless="no tag"),
    ]


@cache
def _style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")
