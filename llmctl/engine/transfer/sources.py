"""What can be imported from: files and streams of every format that is known, told by their content."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import IO, Any

from llmctl.core import clock
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.imported_conversation import History, Passed
from llmctl.core.transfer_records import Broken, Header, Record
from llmctl.engine.transfer import json_documents, orm_hubs
from llmctl.formats import jsonl
from llmctl.formats.exports import LOSSLESS
from llmctl.formats.imports import IMPORTS
from llmctl.store.importers import detect, llm_logs
from llmctl.store.opening import open_hub
from llmctl.store.transfer.read import Reader
from llmctl.store.transfer.select import whole_hub

Item = Record | Header | Broken | History | Passed

#: Every name that ``--format`` takes.
NAMES = (LOSSLESS, detect.HUB, detect.LLM, detect.NODE_LLM, *IMPORTS.names())

_SQLITE, _ZIP = b"SQLite format 3\0", b"PK\x03\x04"
#: Bytes that tell what a file is.
_HEAD = 16


class Source:
    """A file, or a stream, of one format. ``items`` is read once, within ``with source``."""

    def __init__(self, format: str, read: Callable[[], Iterator[Item]], *, time: str, path: str | None = None) -> None:
        self.format = format
        #: Stored time that stands for those the source does not tell.
        self.time = time
        #: The file, where the source is one.
        self.path = path
        self.size = os.path.getsize(path) if path else 0
        self.position: Callable[[], int] = lambda: 0
        self._read = read
        self.resources = ExitStack()

    def items(self) -> Iterator[Item]:
        return self._read()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.resources.close()


def is_same_file(one: str, other: str) -> bool:
    """Tell whether two paths mean one file."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def from_file(path: str, format: str | None = None) -> Source:
    """Open a file; raise NotFoundError where there is none, UsageError for what is no known format."""
    _check(format)
    try:
        stream = open(path, "rb")  # noqa: SIM115
        time = clock.at(os.fstat(stream.fileno()).st_mtime)
    except OSError as error:
        raise NotFoundError(f'cannot read "{path}": {error.strerror}') from error
    return _opened(stream, path, format, time)


def from_stream(stream: IO[bytes], format: str | None = None) -> Source:
    """Read standard input. A database or an archive is put down first: it has to be whole."""
    _check(format)
    head = _peek(stream)
    if not head.startswith((_SQLITE, _ZIP)):
        return _of_text(stream, "-", format, clock.now(), None)
    with tempfile.NamedTemporaryFile(prefix="llmctl-import-", delete=False) as file:
        shutil.copyfileobj(stream, file)
    try:
        source = from_file(file.name, format)
    except BaseException:
        os.unlink(file.name)
        raise
    source.resources.callback(os.unlink, file.name)
    return source


def _check(format: str | None) -> None:
    if format is not None and format not in NAMES:
        raise UsageError(f'no format "{format}"', hint=f"there are {', '.join(NAMES)}")


def _opened(stream: IO[bytes], path: str, format: str | None, time: str) -> Source:
    head = _peek(stream)
    if head.startswith(_SQLITE):
        stream.close()
        return _of_database(path, format, time)
    source = _of_text(stream, path, format, time, path) if not head.startswith(_ZIP) else None
    if source is None:
        source = _of_archive(stream, path, format, time)
    source.resources.callback(stream.close)
    source.position = lambda: 0 if stream.closed else stream.tell()
    return source


def _peek(stream: Any) -> bytes:
    return bytes(stream.peek(_HEAD)[:_HEAD])


def _of_database(path: str, format: str | None, time: str) -> Source:
    found = detect.kind(path)
    if format not in (None, found):
        raise UsageError(f'"{path}" is no "{format}": it is a database of "{found}"')
    readers = {detect.HUB: _hub, detect.LLM: _llm, detect.NODE_LLM: orm_hubs.records}
    source = Source(found, lambda: readers[found](path), time=time, path=path)
    source.size = 0
    return source


def _hub(path: str) -> Iterator[Item]:
    with closing(open_hub(path, "read")) as database:
        yield from hub_records(Reader(database, whole_hub()))


def hub_records(reader: Reader) -> Iterator[Item]:
    """Yield a hub's own columns and all its rows."""
    with reader.snapshot():
        yield reader.header()
        for layout, values in reader.rows():
            yield Record(layout.table, dict(zip(layout.columns, values, strict=True)))


def _llm(path: str) -> Iterator[Item]:
    with detect.opened(path) as connection:
        try:
            yield from llm_logs.read(connection)
        except (sqlite3.OperationalError, json.JSONDecodeError) as error:
            raise UsageError(f'"{path}" is no log of llm that is known here: {error}') from error


def _of_archive(stream: IO[bytes], path: str, format: str | None, time: str) -> Source:
    names, read = json_documents.of_archive(stream, path, format)
    return Source(names, read, time=time, path=path)


def _of_text(stream: IO[bytes], name: str, format: str | None, time: str, path: str | None) -> Source:
    first = b"" if json_documents.is_array(stream) else stream.readline()
    while first.isspace():
        first = stream.readline()
    text = first.decode("utf-8-sig", "replace")
    if format in (None, LOSSLESS) and jsonl.is_header(text):

        def read() -> Iterator[Item]:
            yield jsonl.header(text)
            yield from jsonl.records(stream)

        jsonl.header(text)  # refuses what is newer before anything is touched
        return Source(LOSSLESS, read, time=time, path=path)
    if format == LOSSLESS:
        raise UsageError(f'"{name}" does not begin like an export of llmctl')
    found, documents_in = json_documents.of_text(first, stream, name, format)
    return Source(found, documents_in, time=time, path=path)
