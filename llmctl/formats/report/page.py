"""Render the report as one HTML page: figures, charts, tables, and the threads it links to."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llmctl.core.exported_conversation import ExportedConversation
from llmctl.core.humanize import format_day, format_time
from llmctl.core.report_data import ReportData
from llmctl.core.values import Value
from llmctl.formats import html, templates
from llmctl.formats.report import charts, tables


class ReportView(Value):
    """How the page is shown. ``threads`` are the ids of chats it can link to under ``thread_url``; None means all.

    ``periods`` are links to other ranges (label, URL, whether it is the current one); with them the page is live.
    """

    theme: str = "system"
    version: str = ""
    threads: frozenset[str] | None = frozenset()
    thread_url: str = "#thread-{}"
    periods: Sequence[tuple[str, str, bool]] = ()

    def link(self, chat_id: str | None) -> str | None:
        """Return the URL of the thread of a chat, or None."""
        readable = chat_id is not None and (self.threads is None or chat_id in self.threads)
        return self.thread_url.format(chat_id) if readable else None


def render_report(
    report: ReportData, view: ReportView, conversations: Iterable[ExportedConversation] = ()
) -> Iterator[str]:
    """Yield the report, followed by the threads it links to."""
    values = _report_values(report, view) | {"threads": ()}
    yield from templates.render_html("report/head.html", values)
    yield from templates.render_html("report/body.html", values)
    for conversation in conversations:
        yield from _thread_section(conversation, "#chats")
    yield from templates.render_html("report/foot.html", values)


def render_thread(conversation: ExportedConversation, view: ReportView, back: str) -> Iterator[str]:
    """Yield a page with one conversation."""
    values = _frame_values(view) | {"title": conversation.title}
    yield from templates.render_html("report/head.html", values)
    yield from _thread_section(conversation, back)
    yield from templates.render_html("report/foot.html", values)


def render_notice(title: str, text: str, view: ReportView) -> Iterator[str]:
    """Yield a page with a short message."""
    yield from templates.render_html("report/notice.html", _frame_values(view) | {"title": title, "text": text})


def content_security_policy(*, live: bool) -> str:
    """Return the content security policy: no scripts, no other styles, nothing from other hosts."""
    digest = b64encode(hashlib.sha256(templates.read_style("report/style.css").encode()).digest()).decode()
    forms = "'self'" if live else "'none'"
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action {forms}"


def _thread_section(conversation: ExportedConversation, back: str) -> Iterator[str]:
    values = {"id": conversation.id, "back": back}
    yield from templates.render_html("report/thread_begin.html", values)
    yield from html.render_section(conversation)
    yield from templates.render_html("report/thread_end.html", values)


def _frame_values(view: ReportView) -> dict[str, Any]:
    return {
        "theme": view.theme,
        "version": view.version,
        "live": bool(view.periods),
        "policy": content_security_policy(live=bool(view.periods)),
        "style": templates.read_style("report/style.css"),
    }


def _report_values(report: ReportData, view: ReportView) -> dict[str, Any]:
    zone = report.range.zone
    colors = charts.assign_colors(report.models)
    return _frame_values(view) | {
        "title": f"llmctl report, {tables.format_range(report)}",
        "hub": report.hub,
        "span": tables.format_range(report),
        "zone": report.range.zone_name,
        "written": format_time(report.range.written_at, zone),
        "periods": view.periods,
        "since": format_day(report.range.since, zone),
        "until": format_day(report.range.until, zone),
        "is_empty": not report.total["requests"] and not report.chats and not report.tools,
        "cards": tables.build_cards(report),
        "trends": charts.trend_charts(report, colors),
        "calendar": charts.build_calendar(report.daily),
        "latency": charts.latency_charts(report),
        "failures": charts.failure_chart(report),
        "models": tables.breakdown_table("model-table", "Models", report.models, full=True, colors=colors),
        "breakdowns": _breakdowns(report),
        "statuses": tables.status_table(report),
        "reasons": tables.failure_table(report),
        "requests": [
            tables.request_table("most_expensive", "Most expensive requests", report.most_expensive, view.link, zone),
            tables.request_table("slowest", "Slowest requests", report.slowest, view.link, zone),
        ],
        "tools": tables.tool_table(report.tools),
        "chats": tables.chat_table(report.chats, view.link, zone),
    }


def _breakdowns(report: ReportData) -> list[tables.ReportTable]:
    found = [
        tables.breakdown_table("providers", "Providers", report.providers),
        tables.breakdown_table("agents", "Agents", report.agents, nameless="no agent"),
        tables.breakdown_table("tags", "Tags", report.tags, nameless="no tag"),
    ]
    if report.projects:
        found.append(tables.breakdown_table("projects", "Projects", report.projects, nameless="no folder"))
    return found
