"""Conversations in JSON: a document a line, an array of documents, or one; plain or in a zip archive."""

from __future__ import annotations

import json
import re
import zipfile
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from itertools import chain
from typing import IO, Any

from llmctl.core.errors import UsageError
from llmctl.core.imported_conversation import History, Passed
from llmctl.core.transfer_records import Broken
from llmctl.formats.imports import IMPORTS, Format

Item = History | Passed | Broken
Read = Callable[[], Iterator[Item]]

_PIECE = 1 << 16
#: Bytes that tell how a text begins, and those that may stand before it.
_HEAD, _BLANK = 64, b"\xef\xbb\xbf \t\r\n"
_SPACE = re.compile(r"[ \t\r\n]*")
#: A document that does not end by then is none.
_LONGEST = 1 << 28
_KNOWN = 'llmctl\'s jsonl, the exports of ChatGPT and Claude, and lines of {"messages": [...]} are'


def of_archive(stream: IO[bytes], path: str, format: str | None) -> tuple[str, Read]:
    """Return the format of the conversations in an archive, and what reads them."""
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile as error:
        raise UsageError(f'"{path}" is a broken archive: {error}') from error
    members = sorted(name for name in archive.namelist() if _holds_conversations(name))
    if not members:
        raise UsageError(f'"{path}" is an archive without conversations.json', hint=f"{_KNOWN} known")
    found = [of_text(b"", archive.open(name), f"{path}/{name}", format) for name in members]
    return found[0][0], lambda: chain.from_iterable(read() for _, read in found)


def of_text(first: bytes, stream: IO[bytes], name: str, format: str | None) -> tuple[str, Read]:
    """Return the format of JSON documents, and what reads them; ``first`` is what was read of them already."""
    documents = _documents(first, stream)
    try:
        number, document = next(documents)
    except StopIteration:
        raise UsageError(f'"{name}" is empty') from None
    if isinstance(document, Broken) and format is None:
        raise UsageError(f'"{name}" is of no format that is known here', hint=f"{_KNOWN} known")
    found = format or _format_of(document)
    if found is None:
        raise UsageError(f'"{name}" holds JSON of no format that is known here', hint=f"{_KNOWN} known")
    if found not in IMPORTS:
        raise UsageError(f'"{name}" is no "{found}"')
    reader = IMPORTS.load(found)
    return found, lambda: _read(chain([(number, document)], documents), reader)


def _holds_conversations(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.startswith("conversations") and last.endswith(".json")


def _format_of(document: Any) -> str | None:
    return next((name for name in IMPORTS.names() if IMPORTS.load(name).fits(document)), None)


def _read(documents: Iterator[tuple[int, Any]], reader: Format) -> Iterator[Item]:
    for number, document in documents:
        if isinstance(document, Broken):
            yield document
        elif not reader.fits(document):
            yield Broken(number, "no conversation of this format")
        else:
            try:
                yield from list(reader.read(document))  # all of it, or nothing
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
                yield Broken(number, f"a conversation that cannot be read: {type(error).__name__} {error}")


def is_array(stream: Any) -> bool:
    """Tell whether an array comes next. It may well be a single line, larger than memory."""
    return bool(stream.peek(_HEAD)[:_HEAD].lstrip(_BLANK).startswith(b"["))


def _documents(first: bytes, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """Yield each document with its number: of its line, or in its array."""
    if not first.strip(_BLANK) and is_array(stream):
        yield from enumerate(_array(b"", stream), 1)
        return
    while not first.strip(_BLANK):
        first = stream.readline()
        if not first:
            return
    start = first.decode("utf-8-sig", "replace").lstrip()
    if start.startswith("[") or not _is_whole(start):
        yield from enumerate(_array(first, stream), 1)
    else:
        yield from _lines(first, stream)


def _is_whole(line: str) -> bool:
    """Tell whether a document ends with its line, be it broken: one that goes on breaks off where something follows."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return not line.rstrip().endswith(("{", "[", ",", ":"))
    return True


def _lines(first: bytes, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(chain([first], stream), 1):
        if line.isspace():
            continue
        try:
            yield number, json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError:
            yield number, Broken(number, "no UTF-8")
        except (ValueError, RecursionError) as error:
            yield number, Broken(number, f"no JSON: {error}")


def _array(first: bytes, stream: IO[bytes]) -> Iterator[Any]:
    """Yield the items of an array (or one document over several lines) without holding more than one."""
    decode = json.JSONDecoder().raw_decode
    text = _Text(first, stream)
    in_array = text.skip("[")
    number = 0
    while not text.is_at("]") and not text.is_over():
        number += 1
        try:
            yield text.take(decode)
        except (ValueError, RecursionError) as error:
            yield Broken(number, f"no JSON: {error}")
            return
        if not in_array:
            return
        text.skip(",")


class _Text:
    """Text that is read as far as it is needed."""

    def __init__(self, first: bytes, stream: IO[bytes]) -> None:
        self._decoder = getincrementaldecoder("utf-8-sig")("replace")
        self._stream = stream
        self._text = self._decoder.decode(first)
        self._at = 0
        self._ended = False

    def skip(self, character: str) -> bool:
        """Pass over white space and the character, if it comes next."""
        found = self.is_at(character)
        self._at += found
        return found

    def is_at(self, character: str) -> bool:
        return not self.is_over() and self._text[self._at] == character

    def is_over(self) -> bool:
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text) or not self._more(_PIECE):
                return self._at == len(self._text)

    def take(self, decode: Callable[[str, int], tuple[Any, int]]) -> Any:
        """Return the next document; twice as much is read each time it is not whole yet."""
        self.is_over()
        while True:
            try:
                found, self._at = decode(self._text, self._at)
            except ValueError:
                rest = len(self._text) - self._at
                if rest > _LONGEST or not self._more(max(_PIECE, rest)):
                    raise
            else:
                return found

    def _more(self, size: int) -> bool:
        data = b"" if self._ended else self._stream.read(size)
        self._ended = not data
        self._text = self._text[self._at :] + self._decoder.decode(data, not data)
        self._at = 0
        return bool(data)
