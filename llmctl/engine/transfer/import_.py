"""Import conversations or a whole hub from files and streams, and report what became of each row."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from llmctl.core import clock
from llmctl.core.chat import Usage
from llmctl.core.errors import IncompleteError, NotFoundError, StorageError, UsageError
from llmctl.core.imported_conversation import ImportedConversation, ImportedMessage, SkippedItems
from llmctl.core.stored_values import loads
from llmctl.core.tools import Tool
from llmctl.core.transfer_records import ImportRow, MalformedLine, MergeResult, TransferHeader
from llmctl.engine.billing.cost import PriceKey, calculate_cost
from llmctl.engine.connections import trust
from llmctl.engine.transfer import conversations
from llmctl.engine.transfer import conversations as transfer_conversations
from llmctl.engine.transfer.json_documents import TRANSCRIPTS
from llmctl.engine.transfer.narrow import Narrower
from llmctl.formats import jsonl
from llmctl.formats.exports import LOSSLESS
from llmctl.formats.imports import IMPORTS
from llmctl.store import foreign_databases
from llmctl.store.adopt import run
from llmctl.store.database import Database
from llmctl.store.opening import open_hub
from llmctl.store.records import connections, proxied, settings
from llmctl.store.records.types import ConnectionRow
from llmctl.store.schema import custom_names
from llmctl.store.transfer import batches
from llmctl.store.transfer.read import HubReader, select_all, select_chats

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
    #: Plural of what is left out -> its singular, where they differ by more than an s.
    singulars: dict[str, str] = field(default_factory=dict)
    problem_count: int = 0
    #: Problems without those that every import into a hub in use has.
    failure_count: int = 0
    #: Permissions in the source that do not count here: kind -> how many, and a command that gives one of them.
    narrowed: dict[str, int] = field(default_factory=dict)
    narrowed_hints: dict[str, str] = field(default_factory=dict)
    #: Names of the connections that are not used before the user trusts them.
    untrusted: list[str] = field(default_factory=list)
    #: The error if the source ended prematurely.
    truncation: IncompleteError | None = None

    def add_problem(self, why: str, line: int | None = None, *, expected: bool = False) -> None:
        self.problem_count += 1
        self.failure_count += not expected
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append({"line": line or None, "why": why})

    def add_skipped(self, items: SkippedItems) -> None:
        self.left_out[items.what] += items.number
        if items.singular:
            self.singulars[items.what] = items.singular

    def add_report(self, other: ImportReport, path: str) -> None:
        """Add what became of one of several files."""
        for fate, counts in other.rows.items():
            self.rows[fate].update(counts)
        for problem in other.problems:
            self.add_problem(f"{path}: {problem['why']}", problem["line"])
        self.left_out.update(other.left_out)
        self.singulars |= other.singulars
        self.truncation = self.truncation or other.truncation

    def list_left_out(self) -> list[str]:
        """Return what is left out as people read it: ``1 file, which ...``."""
        return [
            what if what.endswith("use it") else f"left out: {count:,} {self._name(what, count)}"
            for what, count in sorted(self.left_out.items())
        ]

    def _name(self, what: str, count: int) -> str:
        return self.singulars.get(what, what) if count == 1 else what

    @property
    def took_nothing(self) -> bool:
        """Whether no row of the source is in the hub."""
        return not any(self.rows[fate] for fate in _FATES if fate != "skipped")

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
            "narrowed": dict(sorted(self.narrowed.items())),
            "untrusted_connections": self.untrusted,
            "problem_count": self.problem_count,
            "problems": self.problems,
        }


def import_source(
    database: Database,
    source: ImportSource,
    *,
    env: Mapping[str, str] | None = None,
    dry_run: bool = False,
    progress: Progress = lambda messages, done, total: None,
    recorded: RecordedAnswers | None = None,
) -> ImportReport:
    """Import a source into a hub; return a report. Raises UsageError for an unknown format.

    ``env`` says who the user is: their trusted connections stay trusted. ``recorded``: the answers in the hub, shared
    by the sources of one run.
    """
    report = ImportReport(source.format, dry_run)
    if source.path is not None and is_same_file(source.path, database.path):
        raise UsageError(
            f'cannot import "{source.path}" into itself', hint="choose another file, or another hub with --db"
        )

    arrivals = _Arrivals(database, env or {})
    narrower = Narrower(database, lambda why, line: report.add_problem(why, line, expected=True))

    def on_record(record: ImportRow, outcome: MergeResult) -> None:
        report.rows[outcome.status][record.table] += 1
        if outcome.reason:
            report.add_problem(outcome.reason, record.line, expected=record.table == "user_settings")
        if outcome.status in ("imported", "updated"):
            arrivals.note(record)
            _warn_of_tool(report, record)
        if record.table == "messages" and (count := report.rows["imported"]["messages"]) % _PROGRESS_EVERY == 0:
            progress(count, source.position(), source.size)

    with source:
        answers = recorded or RecordedAnswers(database)
        records = _read_records(database, source, report, narrower, answers)
        lost = _merge(database, records, on_record, report)
    report.narrowed, report.narrowed_hints = narrower.counts, narrower.hints
    if narrower.prices and not dry_run:
        with suppress(StorageError):  # then the hub is not known as this user's own: no price in it counts
            trust.distrust_prices(database, narrower.prices, env or {})
    report.untrusted = arrivals.list_names() if dry_run else arrivals.settle()
    if lost:
        report.add_skipped(
            SkippedItems(lost, "references to rows that do not exist", "reference to a row that does not exist")
        )
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


def _read_records(
    database: Database, source: ImportSource, report: ImportReport, narrower: Narrower, answers: RecordedAnswers
) -> Iterator[ImportRow]:
    """Yield rows from the items of a source; count and report what cannot be imported."""
    for item in source.items():
        match item:
            case ImportRow():
                if (narrowed := narrower.narrow(item)) is not None:
                    yield narrowed
            case TransferHeader():
                _add_fields(database, item, report, report.dry_run)
            case ImportedConversation() if not any(entry.parts for entry in item.entries):
                report.add_skipped(SkippedItems(1, "empty conversations", "empty conversation"))
            case ImportedConversation():
                known = find_recorded_answers(database, item)
                if known and known >= {entry.usage.response_id for entry in item.entries if entry.usage}:
                    report.add_skipped(
                        SkippedItems(1, "sessions that the proxy recorded", "session that the proxy recorded")
                    )
                else:
                    yield from conversations.build_records(price_answers(database, item, answers), source.time)
            case SkippedItems():
                report.add_skipped(item)
            case MalformedLine(line, why):
                report.add_problem(why, line)


def find_recorded_answers(database: Database, item: ImportedConversation) -> set[str | None]:
    """Return the ids of the answers in a session that the proxy has recorded."""
    return set(proxied.list_response_ids(database, item.session_key)) if item.session_key else set()


class RecordedAnswers:
    """Which requests have the answers in a hub and in what this run imports, by the provider's ids of the answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._requests: dict[str, set[str]] | None = None

    def drop_copied_usage(self, item: ImportedConversation) -> ImportedConversation:
        """Return a transcript without the usage of answers that another conversation or the proxy has.

        Agents copy the history into the file of a session that goes on from another one.
        """
        requests = self._requests = self._requests if self._requests is not None else self._read_requests()
        own = {id(entry): conversations.derive_request_id(item, entry) for entry in item.entries if entry.usage}
        mine = set(own.values())
        entries, counted = [], []
        for entry in item.entries:
            answer = entry.usage.response_id if entry.usage else None
            having = requests.get(answer, set()) if answer else set()
            if having - mine and own[id(entry)] not in having:
                entry = entry.replace(usage=None)
            elif answer:
                counted.append((answer, own[id(entry)]))
            entries.append(entry)
        for answer, request_id in counted:
            requests.setdefault(answer, set()).add(request_id)
        return item.replace(entries=entries)

    def _read_requests(self) -> dict[str, set[str]]:
        requests: dict[str, set[str]] = {}
        for answer, request_id in proxied.list_answers(self._database):
            requests.setdefault(answer, set()).add(request_id)
        return requests


def price_answers(database: Database, item: ImportedConversation, answers: RecordedAnswers) -> ImportedConversation:
    """Return a transcript with the cost of each answer at its time; answers that are counted already have no usage."""
    if item.app is None:
        return item
    item = answers.drop_copied_usage(item)
    return item.replace(entries=[_price_answer(database, entry) for entry in item.entries])


def _price_answer(database: Database, entry: ImportedMessage) -> ImportedMessage:
    counts = entry.usage
    if counts is None:
        return entry
    usage = Usage(
        input_tokens=counts.input_tokens or 0,
        output_tokens=counts.output_tokens or 0,
        cached_tokens=counts.cached_tokens or 0,
        cache_write_tokens=counts.cache_write_tokens or 0,
        thinking_tokens=counts.thinking_tokens or 0,
        details=counts.details,
    )
    moment = clock.parse(entry.at or clock.now())
    cost = calculate_cost(database, PriceKey(entry.provider or ""), usage, (entry.model,), moment=moment)
    return entry.replace(usage=counts.replace(cost=cost.amount))


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


def _warn_of_tool(report: ImportReport, record: ImportRow) -> None:
    """Warn of a tool that runs a command or takes keys."""
    if record.table != "tools":
        return
    row = record.row
    data = loads(str(row.get("data")), {})
    tool = Tool(str(row.get("name")), str(row.get("type")), data=data if isinstance(data, dict) else {})
    if trust.list_references(tool):
        report.left_out[f'tool "{tool.name}": {trust.describe_tool_use(tool)}: look at it before you use it'] += 1
    elif tool.type == "command":
        report.left_out[f'tool "{tool.name}" runs a command: look at it before you use it'] += 1


class _Arrivals:
    """The connections that an import brings: which of them this user trusts already, and which not."""

    def __init__(self, database: Database, env: Mapping[str, str]) -> None:
        self._database, self._env = database, env
        self._arrived: dict[str, ConnectionRow] = {}
        self._brings_settings = False
        self._own = [row for row in connections.list_remote(database) if trust.is_trusted(database, row, env)]
        self._default = trust.default_name(database, env)

    def note(self, record: ImportRow) -> None:
        row = connections.find_by_id(self._database, record.row["id"]) if record.table == "model_connections" else None
        if row is not None:
            self._arrived[row.id] = row
        self._brings_settings = self._brings_settings or record.table == "user_settings"

    def list_names(self) -> list[str]:
        """Return the names of the connections that are not trusted, as they are called here."""
        return [row.name for row in self._arrived.values() if not trust.is_trusted(self._database, row, self._env)]

    def settle(self) -> list[str]:
        """Trust what is the same as a trusted connection, keep the default; return the names of those not trusted."""
        for row in self._arrived.values():
            if any(trust.is_same_use(row, own) for own in self._own):
                with suppress(StorageError):
                    trust.add(self._database, row, self._env)
        names = self.list_names()
        if self._brings_settings and settings.get(self._database, "default_connection") in names:
            settings.update(self._database, "default_connection", None)
        has_chosen = bool(settings.get(self._database, "default_connection"))
        if self._default and not has_chosen and trust.default_name(self._database, self._env) != self._default:
            settings.update(self._database, "default_connection", self._default)  # an older connection has come
        return names


# --- sources; the format is detected by content


Item = ImportRow | TransferHeader | MalformedLine | ImportedConversation | SkippedItems

#: All values of ``--format``.
NAMES = (
    LOSSLESS,
    foreign_databases.HUB,
    foreign_databases.LLM,
    foreign_databases.NODE_LLM,
    *IMPORTS.names(),
    *TRANSCRIPTS.names(),
)

_SQLITE, _ZIP = b"SQLite format 3\0", b"PK\x03\x04"
#: How many bytes identify a file.
_HEAD = 16


class ImportSource:
    """A file or stream of one format. ``items`` can be read once, inside ``with source``."""

    def __init__(self, format: str, read: Callable[[], Iterator[Item]], *, time: str, path: str | None = None) -> None:
        self.format = format
        #: Stored time used where the source has none.
        self.time = time
        #: Path of the file, None for a stream.
        self.path = path
        self.size = os.path.getsize(path) if path else 0
        self.position: Callable[[], int] = lambda: 0
        self._read = read
        self.resources = ExitStack()

    def items(self) -> Iterator[Item]:
        return self._read()

    def __enter__(self) -> ImportSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.resources.close()


def is_same_file(one: str, other: str) -> bool:
    """Return whether two paths are the same file."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def from_file(path: str, format: str | None = None) -> ImportSource:
    """Open a file; raise NotFoundError if it cannot be read, UsageError for an unknown format."""
    _validate_format(format)
    try:
        stream = open(path, "rb")  # noqa: SIM115
        time = clock.from_unix(os.fstat(stream.fileno()).st_mtime)
    except OSError as error:
        raise NotFoundError(f'cannot read "{path}": {error.strerror}') from error
    return _open(stream, path, format, time)


def from_stream(stream: IO[bytes], format: str | None = None) -> ImportSource:
    """Open standard input. Databases and archives need random access and are copied to a temporary file first."""
    _validate_format(format)
    head = _peek(stream)
    if not head.startswith((_SQLITE, _ZIP)):
        return _from_text(stream, "-", format, clock.now(), None)
    with tempfile.NamedTemporaryFile(prefix="llmctl-import-", delete=False) as file:
        shutil.copyfileobj(stream, file)
    try:
        source = from_file(file.name, format)
    except BaseException:
        os.unlink(file.name)
        raise
    source.resources.callback(os.unlink, file.name)
    return source


def _validate_format(format: str | None) -> None:
    if format is not None and format not in NAMES:
        raise UsageError(f'unknown format "{format}"', hint=f"available: {', '.join(NAMES)}")


def _open(stream: IO[bytes], path: str, format: str | None, time: str) -> ImportSource:
    head = _peek(stream)
    if head.startswith(_SQLITE):
        stream.close()
        return _from_database(path, format, time)
    source = _from_text(stream, path, format, time, path) if not head.startswith(_ZIP) else None
    if source is None:
        source = _from_archive(stream, path, format, time)
    source.resources.callback(stream.close)
    source.position = lambda: 0 if stream.closed else stream.tell()
    return source


def _peek(stream: Any) -> bytes:
    return bytes(stream.peek(_HEAD)[:_HEAD])


def _from_database(path: str, format: str | None, time: str) -> ImportSource:
    found = foreign_databases.detect_kind(path)
    if format not in (None, found):
        raise UsageError(f'"{path}" is not in the format "{format}" but a database of "{found}"')
    readers = {
        foreign_databases.HUB: _read_hub,
        foreign_databases.LLM: _read_llm_logs,
        foreign_databases.NODE_LLM: read_orm_database,
    }
    source = ImportSource(found, lambda: readers[found](path), time=time, path=path)
    source.size = 0
    return source


def _read_hub(path: str) -> Iterator[Item]:
    with closing(open_hub(path, "read")) as database:
        yield from read_hub_records(HubReader(database, select_all()))


def read_hub_records(reader: HubReader) -> Iterator[Item]:
    """Yield a hub's custom columns and all its rows."""
    with reader.snapshot():
        yield reader.header()
        for layout, values in reader.rows():
            yield ImportRow(layout.table, dict(zip(layout.columns, values, strict=True)))


def _read_llm_logs(path: str) -> Iterator[Item]:
    with foreign_databases.open_readonly(path) as connection:
        try:
            yield from foreign_databases.read_llm(connection)
        except (sqlite3.OperationalError, json.JSONDecodeError) as error:
            raise UsageError(f'cannot read the llm logs in "{path}": {error}') from error


def _from_archive(stream: IO[bytes], path: str, format: str | None, time: str) -> ImportSource:
    from llmctl.engine.transfer import archive

    names, read = archive.open_archive(stream, path, format)
    return ImportSource(names, read, time=time, path=path)


def _from_text(stream: IO[bytes], name: str, format: str | None, time: str, path: str | None) -> ImportSource:
    from llmctl.engine.transfer import archive, json_documents  # ijson takes 20 ms

    first = b"" if json_documents.starts_with_array(stream) else stream.readline()
    while first.isspace():
        first = stream.readline()
    text = first.decode("utf-8-sig", "replace")
    if format in (None, LOSSLESS) and jsonl.is_header(text):

        def read() -> Iterator[Item]:
            yield jsonl.parse_header(text)
            yield from jsonl.parse_records(stream)

        jsonl.parse_header(text)  # refuses a newer version before anything is changed
        return ImportSource(LOSSLESS, read, time=time, path=path)
    if format == LOSSLESS:
        raise UsageError(f'"{name}" is not an export of llmctl')
    detected, read_documents = json_documents.open_documents(first, stream, name, format)
    finder = archive.FileFinder(None)
    return ImportSource(detected, lambda: archive.resolve_files(read_documents(), finder), time=time, path=path)


def read_orm_database(path: str) -> Iterator[ImportRow | TransferHeader]:
    """Yield the rows of an @node-llm/orm database of any version: a copy of it is adopted and read like a hub."""
    with tempfile.TemporaryDirectory(prefix="llmctl-import-") as folder:
        copy = os.path.join(folder, "copy.db")
        for ending in ("", "-wal"):
            if os.path.exists(path + ending):
                shutil.copyfile(path + ending, copy + ending)
        run.adopt(copy, {})
        with closing(open_hub(copy, "write")) as database:
            foreign_databases.make_ids_stable(database, transfer_conversations.derive_id)
            reader = HubReader(database, select_chats(None, None))
            with reader.snapshot():
                yield reader.header()
                for layout, values in reader.rows():
                    yield ImportRow(layout.table, dict(zip(layout.columns, values, strict=True)))
