"""Read the rows of a table: JSON lines, a JSON array, CSV, TSV, lines of text, or a query of a SQLite database."""

from __future__ import annotations

import csv
import io
import os
import random
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import IO, Any, Literal, NamedTuple, get_args

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.stored_values import dumps
from llmctl.core.transfer_records import MalformedLine
from llmctl.core.values import Value
from llmctl.engine.transfer.json_documents import iter_documents
from llmctl.store import readonly_sql
from llmctl.store.database import Database
from llmctl.store.foreign_databases import open_readonly

InputFormat = Literal["jsonl", "json", "csv", "tsv", "lines"]
FORMATS: tuple[InputFormat, ...] = get_args(InputFormat)

#: The column of a text line.
LINE = "line"

_FORMATS_BY_SUFFIX: Mapping[str, InputFormat] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".txt": "lines", ".text": "lines", ".list": "lines",
}  # fmt: skip
_HEAD_BYTES = 65_536
#: Makes samples of the same input the same.
_SEED = "llmctl"


class InputRow(NamedTuple):
    """A row of the input; ``position`` counts from 1, without blank lines and headers."""

    position: int
    values: Mapping[str, Any]
    #: Where it stands, for messages: ``line 7``.
    place: str

    @property
    def hash(self) -> str:
        return sha256(dumps(self.values).encode("utf-8", "surrogatepass")).hexdigest()


class RowSource(Value):
    """A table: a file, or a query of a database."""

    #: How the user named it: an absolute path, ``-``, or the SQL.
    name: str
    format: InputFormat | Literal["sql"]
    #: The file that is read: for ``-`` a copy of stdin. The database of a query.
    path: str
    #: Which rows: the first ``limit``, or ``sample`` of them; then each ``shard[1]``-th from ``shard[0]`` on.
    limit: int | None = None
    sample: int | None = None
    shard: tuple[int, int] = (1, 1)

    @property
    def label(self) -> str:
        """The source in messages."""
        return "the query" if self.format == "sql" else "stdin" if self.name == "-" else f'"{self.name}"'

    def fingerprint(self) -> str:
        """Return a hash of the whole input: of the file's bytes, or of what the query returns."""
        digest = sha256()
        if self.format == "sql":
            for row in self.iter_all():
                digest.update(row.hash.encode())
        else:
            with self._open() as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def iter_rows(self) -> Iterator[InputRow]:
        """Yield the chosen rows in order. Raises UsageError where the input is malformed, with the place."""
        index, of = self.shard
        for number, row in enumerate(self._iter_chosen()):
            if number % of == index - 1:
                yield row

    def _iter_chosen(self) -> Iterator[InputRow]:
        if self.sample is not None:
            yield from sample_rows(self.iter_all(), self.sample)
            return
        for number, row in enumerate(self.iter_all()):
            if self.limit is not None and number >= self.limit:
                return
            yield row

    def iter_all(self) -> Iterator[InputRow]:
        """Yield every row of the input."""
        if self.format == "sql":
            yield from self._iter_query()
            return
        with self._open() as file:
            yield from parse_rows(file, self.format, self.label)

    def _iter_query(self) -> Iterator[InputRow]:
        with open_readonly(self.path) as connection:
            found = readonly_sql.run_query(Database(connection, self.path), self.name, {})
            for number, values in enumerate(found.rows, 1):
                yield InputRow(number, values, f"row {number}")

    def _open(self) -> IO[bytes]:
        return open_input(self.path)


def open_input(path: str) -> io.BufferedReader:
    """Open an input file. Raises NotFoundError."""
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:
        raise NotFoundError(f'cannot read "{path}": {getattr(error, "strerror", None) or error}') from error


def detect_format(path: str, name: str) -> InputFormat:
    """Return the format of an input, by the end of its name, else by its first character."""
    suffix = os.path.splitext(name)[1].lower()
    if name != "-" and suffix in _FORMATS_BY_SUFFIX:
        return _FORMATS_BY_SUFFIX[suffix]
    with open_input(path) as file:
        head = file.read(_HEAD_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    return "json" if head == b"[" else "jsonl" if head == b"{" else "lines"


def parse_rows(file: IO[bytes], format: InputFormat, label: str) -> Iterator[InputRow]:
    """Yield the rows of a file. A byte order mark and blank lines do not count, a NUL is refused."""
    match format:
        case "jsonl" | "json":
            yield from _parse_json(file, label)
        case "csv" | "tsv":
            yield from _parse_csv(file, format, label)
        case "lines":
            lines = ((number, line.rstrip("\r\n")) for number, line in enumerate(_iter_lines(file, label), 1))
            texts = ((number, text) for number, text in lines if text.strip())
            for position, (number, text) in enumerate(texts, 1):
                yield InputRow(position, {LINE: text}, f"line {number}")


def _parse_json(file: IO[bytes], label: str) -> Iterator[InputRow]:
    for position, (number, document) in enumerate(iter_documents(b"", file), 1):
        place = f"line {number}"
        if isinstance(document, MalformedLine):
            raise UsageError(f"{label}, {place}: {document.reason}", hint="each row must be a JSON object")
        if not isinstance(document, dict):
            raise UsageError(f"{label}, {place} must be a JSON object, got {dumps(document)[:60]}")
        yield InputRow(position, document, place)


def _parse_csv(file: IO[bytes], format: InputFormat, label: str) -> Iterator[InputRow]:
    lines = _iter_lines(file, label)
    first = next(lines, "")
    delimiter = "\t" if format == "tsv" else _detect_delimiter(first)
    reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    position = 0
    while True:
        started_at = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UsageError(f"{label}, line {started_at}: {error}", hint="quote fields as in RFC 4180") from error
        if cells is None:
            return
        if not cells:
            continue
        if not header:
            header = _check_header(cells, label)
            continue
        position += 1
        if len(cells) != len(header):
            raise UsageError(
                f"{label}, line {started_at} (row {position}) has {len(cells)} fields, but the header has {len(header)}"
            )
        yield InputRow(position, dict(zip(header, cells, strict=True)), f"line {started_at}")


def _detect_delimiter(header: str) -> str:
    """Return the delimiter of a CSV file: spreadsheets of some countries write semicolons."""
    return ";" if header.count(";") > header.count(",") else ","


def _check_header(cells: list[str], label: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    repeated = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if repeated is not None:
        raise UsageError(f'{label} has two columns named "{repeated}"')
    return names


def _chain(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _iter_lines(file: IO[bytes], label: str) -> Iterator[str]:
    """Yield the lines of a text with their ends. Raises UsageError for a NUL and for bytes that are not UTF-8."""
    decoder = getincrementaldecoder("utf-8-sig")()
    for number, line in enumerate(file, 1):
        if b"\0" in line:
            raise UsageError(f"{label}, line {number} has a NUL character", hint="is it a text file?")
        try:
            yield decoder.decode(line)
        except UnicodeDecodeError:
            raise UsageError(
                f"{label}, line {number} is not valid UTF-8", hint="convert it: iconv -f latin1 -t utf-8"
            ) from None


def sample_rows(rows: Iterable[InputRow], count: int) -> list[InputRow]:
    """Return so many rows, chosen at random but the same each time, in their order."""
    chance = random.Random(_SEED)
    chosen: list[InputRow] = []
    for number, row in enumerate(rows):
        if number < count:
            chosen.append(row)
        elif (place := chance.randrange(number + 1)) < count:
            chosen[place] = row
    return sorted(chosen, key=lambda row: row.position)
