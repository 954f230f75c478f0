"""Import conversations or a whole hub, and report what became of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.errors import IncompleteError, UsageError
from llmctl.core.imported_conversation import ImportedConversation, SkippedItems
from llmctl.core.transfer_records import ImportRow, MalformedLine, MergeResult, TransferHeader
from llmctl.engine.transfer import conversations, sources
from llmctl.engine.transfer.sources import ImportSource
from llmctl.store.database import Database
from llmctl.store.schema import custom_names
from llmctl.store.transfer import batches

_FATES = ("imported", "updated", "unchanged", "skipped")
#: Problems listed in the report; the rest are only counted.
_MAX_PROBLEMS = 100

#: Receives the number of messages imported, the bytes read of the source, and its size.
Progress = Callable[[int, int, int], None]
_PROGRESS_EVERY = 250


@dataclass(slots=True)
class ImportReport:
    """What became of an import. ``rows``: fate -> table -> how many."""

    format: str
    dry_run: bool = False
    rows: dict[str, Counter[str]] = field(default_factory=lambda: {fate: Counter() for fate in _FATES})
    problems: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problem_count: int = 0
    #: The error if the source ended prematurely.
    truncation: IncompleteError | None = None

    def add_problem(self, why: str, line: int | None = None) -> None:
        self.problem_count += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append({"line": line or None, "why": why})

    def to_record(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "format": self.format,
            "dry_run": self.dry_run,
            "complete": self.truncation is None,
            "conversations": self.rows["imported"]["chats"],
            "messages": self.rows["imported"]["messages"],
            **{fate: dict(sorted(counts.items())) for fate, counts in self.rows.items()},
            "left_out": dict(sorted(self.left_out.items())),
            "problem_count": self.problem_count,
            "problems": self.problems,
        }


#: Rows that can run commands: the user is warned when they are imported.
_RUNS_COMMANDS = {
    "model_connections": ("data", '"command:', "connection", "runs a command for its key"),
    "tools": ("type", "command", "tool", "runs a command"),
}


def import_source(
    database: Database,
    source: ImportSource,
    *,
    dry_run: bool = False,
    progress: Progress = lambda messages, done, total: None,
) -> ImportReport:
    """Import a source into a hub; return a report. Raises UsageError for an unknown format."""
    report = ImportReport(source.format, dry_run)
    if source.path is not None and sources.is_same_file(source.path, database.path):
        raise UsageError(
            f'cannot import "{source.path}" into itself', hint="choose another file, or another hub with --db"
        )

    def on_record(record: ImportRow, outcome: MergeResult) -> None:
        report.rows[outcome.status][record.table] += 1
        if outcome.reason:
            report.add_problem(outcome.reason, record.line)
        if outcome.status in ("imported", "updated") and record.table in _RUNS_COMMANDS:
            _warn_runs_command(report, record)
        if record.table == "messages" and (count := report.rows["imported"]["messages"]) % _PROGRESS_EVERY == 0:
            progress(count, source.position(), source.size)

    with source:
        records = _read_records(database, source, report, dry_run)
        lost = _merge(database, records, on_record, report)
    if lost:
        report.left_out["references to rows that do not exist"] += lost
    return report


def _merge(
    database: Database,
    records: Iterator[ImportRow],
    on_record: Callable[[ImportRow, MergeResult], None],
    report: ImportReport,
) -> int:
    try:
        return batches.merge_records(database, records, on_record, dry_run=report.dry_run)
    except IncompleteError as error:
        report.truncation = error
        return 0


def _read_records(database: Database, source: ImportSource, report: ImportReport, dry_run: bool) -> Iterator[ImportRow]:
    """Yield rows from the items of a source; count and report what cannot be imported."""
    for item in source.items():
        match item:
            case ImportRow():
                yield item
            case TransferHeader():
                _add_fields(database, item, report, dry_run)
            case ImportedConversation():
                yield from conversations.build_records(item, source.time)
            case SkippedItems(number, what):
                report.left_out[what] += number
            case MalformedLine(line, why):
                report.add_problem(why, line)


def _add_fields(database: Database, header: TransferHeader, report: ImportReport, dry_run: bool) -> None:
    """Add the custom columns that the following rows have."""
    words = {declared: word for word, declared in custom_names.TYPES.items()}
    for table, columns in header.fields.items():
        for name, declared in columns.items():
            try:
                custom_names.add_fields(
                    database, [custom_names.parse_field(f"{table}.{name}:{words.get(declared, 'text')}")]
                )
            except UsageError as error:
                report.add_problem(f"{table}.{name}: {error.message}", 1)


def _warn_runs_command(report: ImportReport, record: ImportRow) -> None:
    column, sign, what, does = _RUNS_COMMANDS[record.table]
    if sign in str(record.row.get(column)):
        report.left_out[f'{what} "{record.row.get("name")}" was imported and {does}: review it before use'] += 1
