"""Collect the data of a report from the roll-ups: totals, groups, time series and notable requests.

The roll-ups have the hours of UTC. Hours of most time zones coincide with them; those of India or Nepal do not, and
are counted from the rows of ``requests``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import Any, NamedTuple, TypeVar

from llmctl.core import clock, time_ranges
from llmctl.core.environment import find_repository
from llmctl.core.exported_conversation import ExportedConversation
from llmctl.core.humanize import format_title
from llmctl.core.redaction import Masker
from llmctl.core.report_data import (
    ChatSummary,
    FailureReason,
    Figures,
    ReportData,
    ReportRange,
    RequestSummary,
    Unit,
    UsageGroup,
)
from llmctl.engine.inspect.transcript import with_partial_answers
from llmctl.formats.exports import Conversation
from llmctl.store.database import Database, Row
from llmctl.store.records import chat_summaries, chats, messages
from llmctl.store.stats import group_by, query, report_queries
from llmctl.store.stats import totals as stats_totals
from llmctl.store.stats.group_by import Grouping, Scope
from llmctl.store.stats.totals import Groups, UsageTotals

#: Rows in the lists of slowest and most expensive requests.
_TOP_REQUESTS = 10
#: Failure reasons are not in the roll-ups: at most this many of the newest requests are scanned.
_MAX_FAILURES_SCANNED = 20_000
#: A longer range is shown by month, with a calendar.
_MONTHLY_AFTER_DAYS = 92
_CALENDAR_DAYS = 7 * 53


_Summary = TypeVar("_Summary", RequestSummary, FailureReason, ChatSummary)


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What to report. ``since`` and ``until`` are stored times; ``zone`` None is UTC.

    ``chats`` are ids of chats to list; None lists the ``newest`` ones. Without ``names`` the report contains no text
    written by people or models: no chats, no error messages.
    """

    hub: str
    since: str | None = None
    until: str | None = None
    zone: tzinfo | None = None
    zone_name: str = "UTC"
    chats: Sequence[str] | None = None
    newest: int = 50
    names: bool = True

    @property
    def scope(self) -> Scope:
        return Scope(since=self.since, until=self.until)


class TimeSeries(NamedTuple):
    """Groups by bucket, provider and model; and, for a range shown by month, the figures of its last days."""

    groups: Groups
    days: Mapping[str, Figures]


def collect_report(database: Database, options: ReportOptions, now: str) -> ReportData:
    """Return the data of a report. A million requests in a year take less than a second."""
    whole = _totals(database, options.scope)
    range = _report_range(options, whole, now)
    by_time, days = count_by_time(database, options.scope, range.unit, options.zone, whole.last_at)
    by_context = query.sum_groups(
        database, options.scope, group_by.build_grouping(database, ("agent", "tag", "status"))
    )
    found = ReportData(
        hub=options.hub,
        range=range,
        total=whole.to_record(),
        previous_total=_previous_totals(database, options, now),
        time_series=_fill_gaps(_merge_by_key(by_time, 0), range, whole, options.zone),
        by_model={key: totals.to_record() for key, totals in _merge_by_key(by_time, 0, 2).items()},
        models=_sort_groups(_merge_by_key(by_time, 2)),
        providers=_sort_groups(_merge_by_key(by_time, 1)),
        agents=_sort_groups(_merge_by_key(by_context, 0)),
        tags=_sort_groups(_merge_by_key(by_context, 1)),
        projects=_sort_groups(_count_projects(database, options.scope)),
        statuses=_sort_groups(_merge_by_key(by_context, 2)),
        tools=_tool_groups(database, options),
        daily=days,
        durations=_histogram(whole.durations),
        first_tokens=_histogram(whole.first_tokens),
        **_notable_rows(database, options, whole.sums["requests"]),
    )
    return found if options.names else _remove_texts(found)


def count_by_time(database: Database, scope: Scope, unit: Unit, zone: tzinfo | None, last_at: str | None) -> TimeSeries:
    """Count a range by hour, day or month; ``last_at`` is when its last request started."""
    if zone is None:
        found = _count_unit(database, scope, unit, None)
        days = report_queries.daily_totals(database, _calendar_scope(scope, last_at)) if unit == "month" else []
        return TimeSeries(found, {row["day"]: row for row in days})
    whole_hours = _has_whole_hours(zone, scope, last_at)
    fine = _count_unit(database, scope, "hour", None) if whole_hours else _count_unit(database, scope, "day", zone)
    if not whole_hours and unit == "hour":
        fine = _count_unit(database, scope, "hour", zone)
    return TimeSeries(
        _rename_buckets(fine, _bucket_namer(unit, zone)), _daily_figures(fine, zone) if unit == "month" else {}
    )


def _totals(database: Database, scope: Scope) -> UsageTotals:
    whole = query.sum_groups(database, scope, Grouping()).get((), UsageTotals())
    stats_totals.add_activity(database, scope, Grouping(), {(): whole})
    return whole


def _previous_totals(database: Database, options: ReportOptions, now: str) -> Figures | None:
    if options.since is None:
        return None
    length = clock.parse(min(options.until or now, now)) - clock.parse(options.since)
    if length.total_seconds() <= 0:
        return None
    begin = clock.format(clock.parse(options.since) - length)
    return _totals(database, Scope(since=begin, until=options.since)).to_record()


def _report_range(options: ReportOptions, whole: UsageTotals, now: str) -> ReportRange:
    since, until = options.since or whole.first_at or now, min(options.until or now, now)
    days = (clock.parse(until) - clock.parse(since)).total_seconds() / 86400
    unit: Unit = "hour" if days <= 2 else "day" if days <= _MONTHLY_AFTER_DAYS else "month"
    return ReportRange(options.since, options.until, options.zone, options.zone_name, unit, now)


def _count_projects(database: Database, scope: Scope) -> dict[Any, UsageTotals]:
    """Sum the folders of requests by the repository that has them today; none where no request has a folder."""
    by_folder = _merge_by_key(query.sum_groups(database, scope, group_by.build_grouping(database, ("folder",))), 0)
    projects: dict[Any, UsageTotals] = {}
    for folder, totals in by_folder.items():
        name = os.path.basename(find_repository(folder) or folder) if folder else None
        projects.setdefault(name, UsageTotals()).merge(totals)
    return projects if projects.keys() - {None} else {}


def _merge_by_key(found: Groups, *positions: int) -> dict[Any, UsageTotals]:
    """Sum groups that agree in these positions of their keys."""
    merged: dict[Any, UsageTotals] = {}
    for key, totals in found.items():
        part = key[positions[0]] if len(positions) == 1 else tuple(key[position] for position in positions)
        merged.setdefault(part, UsageTotals()).merge(totals)
    return merged


def _fill_gaps(
    found: dict[Any, UsageTotals], range: ReportRange, whole: UsageTotals, zone: tzinfo | None
) -> list[UsageGroup]:
    """Return a group for each bucket of the range, empty ones included."""
    if not found:
        return []
    first = range.since or whole.first_at
    last = range.until or (whole.last_at if range.since is None else None)
    begin = min(clock.parse(first or range.written_at), _earliest_start(found, zone))
    end = clock.parse(min(last or range.written_at, range.written_at))
    names = dict.fromkeys([*time_ranges.period_names(begin, end, range.unit, zone), *sorted(found)])
    return [UsageGroup(name, found.get(name, UsageTotals()).to_record()) for name in sorted(names)]


def _earliest_start(buckets: Iterable[str], zone: tzinfo | None) -> datetime:
    return time_ranges.period_start(min(buckets), zone)


def _sort_groups(found: dict[Any, UsageTotals]) -> list[UsageGroup]:
    """Return groups by cost, then by tokens, highest first."""
    groups = [UsageGroup(name, totals.to_record()) for name, totals in found.items()]
    return sorted(groups, key=_sort_key)


def _sort_key(group: UsageGroup) -> tuple[float, int, int, str]:
    figures = group.figures
    return (-(figures["cost"] or 0), -figures["total_tokens"], -figures["requests"], group.name or "")


def _tool_groups(database: Database, options: ReportOptions) -> list[UsageGroup]:
    found: Groups = {}
    stats_totals.add_activity(database, options.scope, group_by.build_grouping(database, ["tool"], options.zone), found)
    groups = [UsageGroup(key[0], totals.to_record()) for key, totals in found.items() if totals.activity["tool_calls"]]
    return sorted(groups, key=lambda group: (-group.figures["tool_calls"], group.name or ""))


def _notable_rows(database: Database, options: ReportOptions, requests: int) -> dict[str, Any]:
    masker = Masker()
    top = partial(report_queries.top_requests, database, options.scope, request_count=requests, limit=_TOP_REQUESTS)
    slowest, most_expensive = top(measure="duration"), top(measure="cost")
    failures = report_queries.failures(database, options.scope, _MAX_FAILURES_SCANNED)
    chat_ids = [id for row in (*most_expensive, *slowest) if (id := row["chat_id"])]
    return {
        "slowest": _mask_rows(masker, RequestSummary, slowest),
        "most_expensive": _mask_rows(masker, RequestSummary, most_expensive),
        "failure_reasons": _mask_rows(masker, FailureReason, failures),
        "failure_sample_size": _MAX_FAILURES_SCANNED if requests > _MAX_FAILURES_SCANNED else None,
        "chats": _mask_rows(masker, ChatSummary, _report_chats(database, options, chat_ids)),
    }


def _mask_rows(masker: Masker, kind: type[_Summary], rows: Iterable[Row]) -> list[_Summary]:
    """Return rows as values of a type, with secrets in their texts masked."""
    return [kind(**{name: masker.mask_value(row[name]) for name in kind._fields}) for row in rows]


def _report_chats(database: Database, options: ReportOptions, chat_ids: Sequence[str]) -> list[Row]:
    """Return the requested chats, or the newest and those with these ids (of the listed requests)."""
    if not options.names:
        return []
    if options.chats is not None:
        return list(report_queries.summarize_chats(database, options.chats))
    ids = dict.fromkeys([*report_queries.newest_chats(database, options.scope, options.newest), *chat_ids])
    found = report_queries.summarize_chats(database, list(ids))
    return sorted(found, key=lambda row: str(row["last_turn_at"] or row["created_at"]), reverse=True)


def _histogram(counts: Mapping[str, int]) -> dict[int, int]:
    return {int(ms): count for ms, count in counts.items() if count}


def _remove_texts(found: ReportData) -> ReportData:
    return found.replace(
        projects=(),
        slowest=[request.replace(chat=None, chat_id=None) for request in found.slowest],
        most_expensive=[request.replace(chat=None, chat_id=None) for request in found.most_expensive],
        failure_reasons=[failure.replace(example=None) for failure in found.failure_reasons],
    )


def _count_unit(database: Database, scope: Scope, unit: Unit, zone: tzinfo | None) -> Groups:
    return query.sum_groups(database, scope, group_by.build_grouping(database, (unit, "provider", "model"), zone))


def _calendar_scope(scope: Scope, last_at: str | None) -> Scope:
    """Return the part of a range shown in the calendar."""
    last = min(filter(None, (scope.until, last_at)), default=None)
    if last is None:
        return scope
    since = clock.add_seconds(last, -86400 * _CALENDAR_DAYS)[:10] + "T00:00:00.000+00:00"
    return scope.replace(since=max(since, scope.since or ""))


def _has_whole_hours(zone: tzinfo, scope: Scope, last_at: str | None) -> bool:
    moments = [clock.parse(at) for at in (scope.since, scope.until, last_at) if at]
    offsets = [
        at.astimezone(zone).utcoffset() or timedelta() for moment in moments for at in _half_year_samples(moment)
    ]
    return all(not offset % timedelta(hours=1) for offset in offsets)


def _half_year_samples(moment: datetime) -> list[datetime]:
    """Return the time and half a year before it: one in summer, one in winter."""
    return [moment, moment - timedelta(days=182)]


def _bucket_namer(unit: Unit, zone: tzinfo) -> Callable[[str], str]:
    """Return a function from an hour of UTC, or a day of the zone, to the name of its bucket."""
    lengths = {"hour": None, "day": 10, "month": 7}

    def name(fine: str) -> str:
        return time_ranges.period_name(clock.parse(fine), unit, zone) if len(fine) > 10 else fine[: lengths[unit]]

    return name


def _rename_buckets(found: Groups, name: Callable[[str], str]) -> Groups:
    merged: Groups = {}
    names: dict[str, str] = {}
    for (fine, *others), totals in found.items():
        if fine not in names:
            names[fine] = name(fine)
        merged.setdefault((names[fine], *others), UsageTotals()).merge(totals)
    return merged


def _daily_figures(found: Groups, zone: tzinfo) -> dict[str, Figures]:
    """Return requests, tokens and cost of each day of the zone in the last year."""
    name = _bucket_namer("day", zone)
    days: dict[str, dict[str, Any]] = {}
    for (fine, *_), totals in found.items():
        day = days.setdefault(name(fine), {"requests": 0, "total_tokens": 0, "cost": None})
        day["requests"] += totals.sums["requests"]
        day["total_tokens"] += totals.sums["input_tokens"] + totals.sums["output_tokens"]
        if totals.sums["priced_requests"]:
            day["cost"] = (day["cost"] or 0) + totals.sums["cost"]
    return {day: days[day] for day in sorted(days)[-_CALENDAR_DAYS:]}


# --- conversations: complete threads, masked, and truncated to a readable length


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """Maximum characters of one text, and of a whole thread."""

    text_chars: int = 20_000
    thread_chars: int = 100_000


def load_conversations(database: Database, ids: Iterable[str], limit: SizeLimit) -> Iterator[ExportedConversation]:
    """Yield chats with messages, tool calls and results; long texts are cut, with a note."""
    masker = Masker()
    for id in ids:
        chat = chat_summaries.get(database, id)
        title = format_title(chat["name"], chat["preview"], id)
        thread = chats.find_thread(database, id)
        found = messages.conversation(database, thread.id, steps=True) if thread else []
        masked = [masker.mask_value(row) for row in _truncate_thread(with_partial_answers(database, found), limit)]
        yield Conversation(masker.mask_value({**chat, "name": title}), masked).to_exported()


def _truncate_thread(found: Iterable[Row], limit: SizeLimit) -> Iterator[Row]:
    left = limit.thread_chars
    rows = list(found)
    for index, row in enumerate(rows):
        if left <= 0:
            note = f"{len(rows) - index:,} more messages: llmctl chats show"
            yield {**row, "content": None, "content_raw": None, "thinking_text": None, "tool_calls": [], "error": note}
            return
        truncated = row | {
            name: _truncate(row[name], limit.text_chars) for name in ("content", "thinking_text", "content_raw")
        }
        truncated["tool_calls"] = _truncate(row["tool_calls"], limit.text_chars)
        left -= sum(_text_length(truncated[name]) for name in ("content", "thinking_text", "content_raw", "tool_calls"))
        yield truncated


def _truncate(value: Any, max_chars: int) -> Any:
    """Return a JSON value with its long texts cut."""
    match value:
        case str() if len(value) > max_chars:
            return f"{value[:max_chars]}… ({len(value):,} characters in all)"
        case list():
            return [_truncate(item, max_chars) for item in value]
        case dict():
            return {key: _truncate(item, max_chars) for key, item in value.items()}
        case _:
            return value


def _text_length(value: Any) -> int:
    match value:
        case str():
            return len(value)
        case list():
            return sum(map(_text_length, value))
        case dict():
            return sum(map(_text_length, value.values()))
        case _:
            return 0
