"""Read conversations from JSON: one document per line, an array, or a single document.

The only file that imports ijson, which reads arrays larger than memory.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import chain, islice
from typing import IO, Any

import ijson

from llmctl.core.errors import UsageError
from llmctl.core.humanize import format_size
from llmctl.core.imported_conversation import ImportedConversation, SkippedItems
from llmctl.core.registry import Registry
from llmctl.core.transfer_records import MalformedLine
from llmctl.formats.imports import IMPORTS, Format

ConversationItem = ImportedConversation | SkippedItems | MalformedLine
Read = Callable[[], Iterator[ConversationItem]]

#: Formats whose lines are the events of one conversation.
TRANSCRIPTS: Registry[Format] = Registry(
    "format",
    "llmctl.engine.transfer",
    {
        "claude-code": "transcripts:CLAUDE_CODE",
        "codex": "transcripts:CODEX",
        "gemini-cli": "transcripts:GEMINI_CLI",
    },
)

#: Errors of a stream that is a damaged member of an archive.
_READ_ERRORS = (ijson.JSONError, zipfile.BadZipFile, zlib.error, EOFError, OSError)
#: How many documents are tried to find out the format.
_MAX_DETECTION = 20

#: How many bytes of a text decide what it is, and what may precede its first character.
_HEAD_BYTES, _BLANK = 64, b"\xef\xbb\xbf \t\r\n"
#: What may be read of one document or line: a larger one would not fit into memory.
_MAX_DOCUMENT_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 16
#: What the parser gets at once: it scans a long text again from its beginning with each piece.
_PARSER_BYTES = 1 << 20
#: More brackets opened than closed in one document: its nesting would not fit into memory.
_MAX_OPEN_BRACKETS = 200_000
_TOO_LARGE = f"larger than {format_size(_MAX_DOCUMENT_BYTES)}"
FORMATS_HINT = 'known formats: llmctl\'s jsonl, exports of ChatGPT and Claude, ShareGPT, lines of {"messages": [...]}'


def open_documents(first_line: bytes, stream: IO[bytes], name: str, format: str | None) -> tuple[str, Read]:
    """Return the format of JSON documents, and a function that reads them; ``first_line`` was read already."""
    documents = iter_documents(first_line, stream)
    first = list(islice(documents, 1))
    if not first:
        raise UsageError(f'"{name}" is empty')
    while format is None and _detect_format(first[-1][1]) is None and len(first) < _MAX_DETECTION:
        following = next(documents, None)
        if following is None:
            break
        first.append(following)
    detected = format or _detect_format(first[-1][1])
    if detected is None:
        raise _unknown_format_error(name, first[0][1])
    if detected not in IMPORTS and detected not in TRANSCRIPTS:
        raise UsageError(f'"{name}" is not in the format "{detected}"')
    reader = _load_format(detected)
    return detected, lambda: _read_conversations(chain(first, documents), reader)


def _unknown_format_error(name: str, first: Any) -> UsageError:
    if isinstance(first, MalformedLine) and first.reason == _TOO_LARGE:
        return UsageError(f'cannot read "{name}": a conversation is {_TOO_LARGE}')
    if isinstance(first, MalformedLine):
        return UsageError(f'unknown format of "{name}"', hint=FORMATS_HINT)
    return UsageError(f'"{name}" contains JSON of an unknown format', hint=FORMATS_HINT)


def starts_with_array(stream: Any) -> bool:
    """Return whether a JSON array comes next; it may be one line that is larger than memory."""
    return bool(stream.peek(_HEAD_BYTES)[:_HEAD_BYTES].lstrip(_BLANK).startswith(b"["))


def _detect_format(document: Any) -> str | None:
    return next((name for name in (*TRANSCRIPTS.names(), *IMPORTS.names()) if _load_format(name).fits(document)), None)


def _load_format(name: str) -> Format:
    return (TRANSCRIPTS if name in TRANSCRIPTS else IMPORTS).load(name)


def _read_conversations(documents: Iterator[tuple[int, Any]], reader: Format) -> Iterator[ConversationItem]:
    if reader.read_lines is not None:
        malformed: list[MalformedLine] = []
        yield from reader.read_lines(_list_lines(documents, malformed))
        yield from malformed
        return
    for number, document in documents:
        if isinstance(document, MalformedLine):
            yield document
        elif not reader.fits(document):
            yield MalformedLine(number, "not a conversation of this format")
        else:
            try:
                yield from list(reader.read(document))  # all of a conversation or nothing
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
                yield MalformedLine(number, f"invalid conversation: {type(error).__name__} {error}")


def _list_lines(documents: Iterator[tuple[int, Any]], malformed: list[MalformedLine]) -> Iterator[Any]:
    """Yield the lines of a transcript; those that are no JSON are put aside."""
    for _, document in documents:
        if isinstance(document, MalformedLine):
            malformed.append(document)
        else:
            yield document


def iter_documents(first_line: bytes, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """Yield each document with its number: of its line, or in its array."""
    if not first_line.strip(_BLANK) and starts_with_array(stream):
        yield from enumerate(_iter_items(b"", stream, "item"), 1)
        return
    while not first_line.strip(_BLANK):
        first_line = stream.readline()
        if not first_line:
            return
    start = first_line.decode("utf-8-sig", "replace").lstrip()
    if start.startswith("["):
        yield from enumerate(_iter_items(first_line, stream, "item"), 1)
    elif not _is_single_line(start):
        yield from enumerate(_iter_items(first_line, stream, ""), 1)
    else:
        yield from _iter_lines(first_line, stream)


def _is_single_line(line: str) -> bool:
    """Return whether a document ends on its line, valid or not; otherwise its line ends with a bracket or separator."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return not line.rstrip().endswith(("{", "[", ",", ":"))
    return True


def _iter_lines(first_line: bytes, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(chain([first_line], _read_lines(stream)), 1):
        if line is None:
            yield number, MalformedLine(number, _TOO_LARGE)
        elif not line.isspace():
            yield number, _parse_line(number, line)


def _parse_line(number: int, line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return MalformedLine(number, "not valid UTF-8")
    except (ValueError, RecursionError) as error:
        return MalformedLine(number, f"invalid JSON: {error}")


def _read_lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Yield each line; None for one that is too large."""
    while line := stream.readline(_MAX_DOCUMENT_BYTES):
        if len(line) < _MAX_DOCUMENT_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(_BLOCK_BYTES)
        yield None


def _iter_items(first_line: bytes, stream: IO[bytes], prefix: str) -> Iterator[Any]:
    """Yield the items of an array (prefix ``item``) or whole documents (``""``), one in memory at a time."""
    number = 0
    source = _Utf8Stream(first_line, stream)
    try:
        for item in ijson.items(source, prefix, multiple_values=not prefix, buf_size=_PARSER_BYTES):
            number += 1
            source.start_document()
            yield _convert_item(number, item)
    except _DocumentTooLargeError:
        yield MalformedLine(number + 1, _TOO_LARGE)
    except (ValueError, RecursionError, *_READ_ERRORS) as error:
        yield MalformedLine(number + 1, f"invalid JSON: {str(error).partition(chr(10))[0]}")


def _convert_item(number: int, item: Any) -> Any:
    try:
        return _convert_decimals(item)
    except RecursionError:
        return MalformedLine(number, "nested too deep")


def _convert_decimals(value: Any) -> Any:
    """Return JSON with floats for the Decimals of ijson, whose own floats do not go with integers beyond 64 bits."""
    match value:
        case dict():
            return {key: _convert_decimals(item) for key, item in value.items()}
        case list():
            return [_convert_decimals(item) for item in value]
        case Decimal():
            return float(value)
        case _:
            return value


class _DocumentTooLargeError(Exception):
    """A document is larger than what may be in memory."""


class _Utf8Stream:
    """A stream without a byte order mark, invalid bytes replaced: ijson refuses both."""

    def __init__(self, first_line: bytes, stream: IO[bytes]) -> None:
        self._decoder = getincrementaldecoder("utf-8-sig")("replace")
        self._first_line = first_line
        self._stream = stream
        self._document_bytes = self._open_brackets = 0

    def start_document(self) -> None:
        """Count the bytes and brackets of the next document."""
        self._document_bytes = self._open_brackets = 0

    def read(self, size: int = -1) -> bytes:
        if size == 0:  # ijson asks what kind of stream this is
            return b""
        while data := self._first_line or self._read_pieces(size):
            self._first_line = b""
            self._document_bytes += len(data)
            self._open_brackets += sum(map(data.count, (b"[", b"{"))) - sum(map(data.count, (b"]", b"}")))
            if self._document_bytes > _MAX_DOCUMENT_BYTES or self._open_brackets > _MAX_OPEN_BRACKETS:
                raise _DocumentTooLargeError
            if text := self._decoder.decode(data):
                return text.encode()
        return self._decoder.decode(b"", final=True).encode()

    def _read_pieces(self, size: int) -> bytes:
        """Return up to ``size`` bytes, read in small pieces: a pipe's buffer would grow with the size of a read."""
        pieces = []
        while size > 0 and (piece := self._stream.read(min(size, _BLOCK_BYTES))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)
