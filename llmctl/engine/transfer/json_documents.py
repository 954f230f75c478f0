"""Read conversations from JSON: one document per line, an array, or a single document; plain or in a zip archive.

The only file that imports ijson, which reads arrays larger than memory.
"""

from __future__ import annotations

import json
import zipfile
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import chain
from typing import IO, Any

import ijson

from llmctl.core.errors import UsageError
from llmctl.core.imported_conversation import ImportedConversation, SkippedItems
from llmctl.core.transfer_records import MalformedLine
from llmctl.formats.imports import IMPORTS, Format

ConversationItem = ImportedConversation | SkippedItems | MalformedLine
Read = Callable[[], Iterator[ConversationItem]]

#: How many bytes of a text decide what it is, and what may precede its first character.
_HEAD_BYTES, _BLANK = 64, b"\xef\xbb\xbf \t\r\n"
_FORMATS_HINT = 'known formats: llmctl\'s jsonl, exports of ChatGPT and Claude, lines of {"messages": [...]}'


def open_archive(stream: IO[bytes], path: str, format: str | None) -> tuple[str, Read]:
    """Return the format of the conversations in a zip archive, and a function that reads them."""
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile as error:
        raise UsageError(f'cannot read the archive "{path}": {error}') from error
    members = sorted(name for name in archive.namelist() if _is_conversations_file(name))
    if not members:
        raise UsageError(f'no conversations.json in the archive "{path}"', hint=_FORMATS_HINT)
    opened = [open_documents(b"", archive.open(name), f"{path}/{name}", format) for name in members]
    return opened[0][0], lambda: chain.from_iterable(read() for _, read in opened)


def open_documents(first_line: bytes, stream: IO[bytes], name: str, format: str | None) -> tuple[str, Read]:
    """Return the format of JSON documents, and a function that reads them; ``first_line`` was read already."""
    documents = _iter_documents(first_line, stream)
    try:
        number, document = next(documents)
    except StopIteration:
        raise UsageError(f'"{name}" is empty') from None
    if isinstance(document, MalformedLine) and format is None:
        raise UsageError(f'unknown format of "{name}"', hint=_FORMATS_HINT)
    detected = format or _detect_format(document)
    if detected is None:
        raise UsageError(f'"{name}" contains JSON of an unknown format', hint=_FORMATS_HINT)
    if detected not in IMPORTS:
        raise UsageError(f'"{name}" is not in the format "{detected}"')
    reader = IMPORTS.load(detected)
    return detected, lambda: _read_conversations(chain([(number, document)], documents), reader)


def starts_with_array(stream: Any) -> bool:
    """Return whether a JSON array comes next; it may be one line that is larger than memory."""
    return bool(stream.peek(_HEAD_BYTES)[:_HEAD_BYTES].lstrip(_BLANK).startswith(b"["))


def _is_conversations_file(name: str) -> bool:
    file = name.rpartition("/")[2]
    return file.startswith("conversations") and file.endswith(".json")


def _detect_format(document: Any) -> str | None:
    return next((name for name in IMPORTS.names() if IMPORTS.load(name).fits(document)), None)


def _read_conversations(documents: Iterator[tuple[int, Any]], reader: Format) -> Iterator[ConversationItem]:
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


def _iter_documents(first_line: bytes, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
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
    for number, line in enumerate(chain([first_line], stream), 1):
        if line.isspace():
            continue
        try:
            yield number, json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError:
            yield number, MalformedLine(number, "not valid UTF-8")
        except (ValueError, RecursionError) as error:
            yield number, MalformedLine(number, f"invalid JSON: {error}")


def _iter_items(first_line: bytes, stream: IO[bytes], prefix: str) -> Iterator[Any]:
    """Yield the items of an array (prefix ``item``) or whole documents (``""``), one in memory at a time."""
    number = 0
    try:
        for item in ijson.items(_Utf8Stream(first_line, stream), prefix, multiple_values=not prefix):
            number += 1
            yield _convert_decimals(item)
    except (ijson.JSONError, RecursionError) as error:
        yield MalformedLine(number + 1, f"invalid JSON: {str(error).partition(chr(10))[0]}")


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


class _Utf8Stream:
    """A stream without a byte order mark, invalid bytes replaced: ijson refuses both."""

    def __init__(self, first_line: bytes, stream: IO[bytes]) -> None:
        self._decoder = getincrementaldecoder("utf-8-sig")("replace")
        self._first_line = first_line
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if size == 0:  # ijson asks what kind of stream this is
            return b""
        while data := self._first_line or self._stream.read(size):
            self._first_line = b""
            if text := self._decoder.decode(data):
                return text.encode()
        return self._decoder.decode(b"", final=True).encode()
