"""Conversations and hubs on their way in: what a file is, its rows, and a report of what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.errors import IncompleteError, UsageError
from llmctl.core.imported_conversation import History, Passed
from llmctl.core.transfer_records import Broken, Header, Outcome, Record
from llmctl.engine.transfer import conversations, sources
from llmctl.engine.transfer.sources import Source
from llmctl.store.database import Database
from llmctl.store.schema import custom_fields
from llmctl.store.transfer import batches

_FATES = ("imported", "updated", "unchanged", "skipped")
#: Problems that are told one by one; of the rest there is a number.
_MOST_TOLD = 100

#: Takes how many messages are in, and how much of the source is read, of how much.
Progress = Callable[[int, int, int], None]
_EVERY = 250


@dataclass(slots=True)
class Report:
    """What became of an import. ``rows``: fate -> table -> how many."""

    format: str
    dry_run: bool = False
    rows: dict[str, Counter[str]] = field(default_factory=lambda: {fate: Counter() for fate in _FATES})
    problems: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problem_count: int = 0
    #: What said that the source broke off.
    cut: IncompleteError | None = None

    def problem(self, why: str, line: int | None = None) -> None:
        self.problem_count += 1
        if len(self.problems) < _MOST_TOLD:
            self.problems.append({"line": line or None, "why": why})

    def document(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "format": self.format,
            "dry_run": self.dry_run,
            "complete": self.cut is None,
            "conversations": self.rows["imported"]["chats"],
            "messages": self.rows["imported"]["messages"],
            **{fate: dict(sorted(counts.items())) for fate, counts in self.rows.items()},
            "left_out": dict(sorted(self.left_out.items())),
            "problem_count": self.problem_count,
            "problems": self.problems,
        }


#: What may act on its own: it is named when it comes from elsewhere.
_POWERFUL = {
    "model_connections": ("data", '"command:', "connection", "runs a command for its key"),
    "tools": ("type", "command", "tool", "runs a command"),
}


def run(
    database: Database,
    source: Source,
    *,
    dry_run: bool = False,
    progress: Progress = lambda messages, done, total: None,
) -> Report:
    """Put what a source holds into a hub; return what became of it. Raises for what is no known format."""
    report = Report(source.format, dry_run)
    if source.path is not None and sources.is_same_file(source.path, database.path):
        raise UsageError(f'"{source.path}" is this hub', hint="name another file, or another hub with --db")

    def told(record: Record, outcome: Outcome) -> None:
        report.rows[outcome.fate][record.table] += 1
        if outcome.why:
            report.problem(outcome.why, record.line)
        if outcome.fate in ("imported", "updated") and record.table in _POWERFUL:
            _warn(report, record)
        if record.table == "messages" and (count := report.rows["imported"]["messages"]) % _EVERY == 0:
            progress(count, source.position(), source.size)

    with source:
        records = _records(database, source, report, dry_run)
        lost = _merged(database, records, told, report)
    if lost:
        report.left_out["references to rows that are not there"] += lost
    return report


def _merged(
    database: Database, records: Iterator[Record], told: Callable[[Record, Outcome], None], report: Report
) -> int:
    try:
        return batches.merge(database, records, told, dry_run=report.dry_run)
    except IncompleteError as error:
        report.cut = error
        return 0


def _records(database: Database, source: Source, report: Report, dry_run: bool) -> Iterator[Record]:
    """Yield rows, whatever the source gives; note what it cannot give."""
    for item in source.items():
        match item:
            case Record():
                yield item
            case Header():
                _add_fields(database, item, report, dry_run)
            case History():
                yield from conversations.records(item, source.time)
            case Passed(number, what):
                report.left_out[what] += number
            case Broken(line, why):
                report.problem(why, line)


def _add_fields(database: Database, header: Header, report: Report, dry_run: bool) -> None:
    """Make the user's own columns that the rows to come have."""
    words = {declared: word for word, declared in custom_fields.TYPES.items()}
    for table, columns in header.fields.items():
        for name, declared in columns.items():
            try:
                custom_fields.add(database, [custom_fields.parse(f"{table}.{name}:{words.get(declared, 'text')}")])
            except UsageError as error:
                report.problem(f"{table}.{name}: {error.message}", 1)


def _warn(report: Report, record: Record) -> None:
    column, sign, what, does = _POWERFUL[record.table]
    if sign in str(record.row.get(column)):
        report.left_out[f'{what} "{record.row.get("name")}" came with it and {does}: look at it before you use it'] += 1
