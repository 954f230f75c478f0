"""Read the zip archives that other programs export: their conversations, and the files that these mention."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import IO

from llmctl.core import media_types
from llmctl.core.chat import File, Part, Text
from llmctl.core.errors import UsageError
from llmctl.core.humanize import format_size
from llmctl.core.imported_conversation import FILE_REFERENCE_KEY, ImportedConversation, ImportedMessage, SkippedItems
from llmctl.engine.transfer.json_documents import FORMATS_HINT, ConversationItem, Read, open_documents

#: An archive that unpacks to more than this, and to more than this times its size, is refused.
_MAX_UNPACKED_BYTES, _MAX_RATIO = 1 << 30, 100
#: A larger file of a conversation is left out.
_MAX_FILE_BYTES = 64 << 20
#: Id of a file, in a pointer to it and at the beginning of its name in the archive.
_FILE_ID = re.compile(r"file[-_][A-Za-z0-9]+")
#: How many names of a list are shown.
_MAX_NAMES = 5


class FileFinder:
    """Finds the bytes of files that conversations mention by an id or a name."""

    def __init__(self, archive: zipfile.ZipFile | None) -> None:
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist() if archive else ():
            name = member.filename.rpartition("/")[2]
            if name and not name.endswith(".json"):
                id = _FILE_ID.match(name)
                for key in {name, name.rpartition(".")[0], id[0] if id else name}:
                    self._members.setdefault(key, member)

    def find(self, file: File) -> File | None:
        """Return the file with its bytes; None if the archive does not have it, or it is too large."""
        reference = str(file.metadata[FILE_REFERENCE_KEY])
        ids = [*_FILE_ID.findall(reference)[::-1], reference, reference.rpartition("/")[2], file.name or reference]
        member = next((self._members[id] for id in ids if id in self._members), None)
        if member is None or self._archive is None or member.file_size > _MAX_FILE_BYTES:
            return None
        try:
            data = self._archive.read(member)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError):
            return None
        name = file.name or member.filename.rpartition("/")[2]
        declared = None if file.media_type.endswith(("/*", "octet-stream")) else file.media_type
        return File(media_types.detect(name, data, declared), data, name=name)


def open_archive(stream: IO[bytes], path: str, format: str | None) -> tuple[str, Read]:
    """Return the format of the conversations in a zip archive, and a function that reads them."""
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UsageError(f'cannot read the archive "{path}": {error}') from error
    members = sorted(name for name in archive.namelist() if _is_conversations_file(name))
    if not members:
        raise UsageError(f'no conversations.json in the archive "{path}"', hint=FORMATS_HINT)
    _require_readable(archive, path, members)
    try:
        opened = [open_documents(b"", archive.open(name), f"{path}/{name}", format) for name in members]
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UsageError(f'cannot read the archive "{path}": {error}') from error
    finder = FileFinder(archive)

    def read() -> Iterator[ConversationItem]:
        yield from chain.from_iterable(resolve_files(items(), finder) for _, items in opened)
        yield from _list_other_documents(archive, members)

    return opened[0][0], read


def _require_readable(archive: zipfile.ZipFile, path: str, members: list[str]) -> None:
    infos = [archive.getinfo(name) for name in members]
    if any(info.flag_bits & 0x1 for info in infos):
        raise UsageError(
            f'the archive "{path}" is encrypted',
            hint="unpack it with its password, then import the folder's conversations.json",
        )
    unpacked, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    if unpacked > _MAX_UNPACKED_BYTES and unpacked > _MAX_RATIO * max(packed, 1):
        raise UsageError(
            f'the archive "{path}" unpacks to {format_size(unpacked)}, more than {_MAX_RATIO} times its size',
            hint="unpack it yourself if you trust it, then import conversations.json",
        )


def _is_conversations_file(name: str) -> bool:
    file = name.rpartition("/")[2]
    return file.startswith("conversations") and file.endswith(".json")


def _list_other_documents(archive: zipfile.ZipFile, members: list[str]) -> Iterator[SkippedItems]:
    """Name the JSON files that hold no conversations, such as projects.json."""
    names = sorted(name for name in archive.namelist() if name.endswith(".json") and name not in members)
    if names:
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        listed = f"{', '.join(names[:_MAX_NAMES])}{more}"
        yield SkippedItems(
            len(names), f"files without conversations: {listed}", f"file without conversations: {listed}"
        )


def resolve_files(items: Iterator[ConversationItem], finder: FileFinder) -> Iterator[ConversationItem]:
    """Yield the items with the bytes of the files that they mention; what is missing is counted and named instead."""
    missing = 0
    for item in items:
        if isinstance(item, ImportedConversation):
            entries = [_resolve_message(entry, finder) for entry in item.entries]
            missing += sum(map(_count_references, entries[item.shared :]))
            yield replace(item, entries=[replace(entry, parts=_name_references(entry.parts)) for entry in entries])
        else:
            yield item
    if missing:
        what = "which the export mentions but does not contain"
        yield SkippedItems(missing, f"files, {what}", f"file, {what}")


def _resolve_message(entry: ImportedMessage, finder: FileFinder) -> ImportedMessage:
    if not any(map(_is_reference, entry.parts)):
        return entry
    parts: list[Part] = []
    for part in entry.parts:
        parts.append((finder.find(part) or part) if isinstance(part, File) and _is_reference(part) else part)
    return replace(entry, parts=tuple(parts))


def _is_reference(part: Part) -> bool:
    return isinstance(part, File) and FILE_REFERENCE_KEY in part.metadata


def _count_references(entry: ImportedMessage) -> int:
    return sum(map(_is_reference, entry.parts))


def _name_references(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Return the parts with the names of missing files as text; of spoken text the words are enough."""
    has_text = any(isinstance(part, Text) for part in parts)
    named: list[Part] = []
    for part in parts:
        if not isinstance(part, File) or not _is_reference(part):
            named.append(part)
        elif not (has_text and part.media_type.startswith("audio/")):
            named.append(Text(f"[file: {part.name or part.metadata[FILE_REFERENCE_KEY]}]"))
    return tuple(named)
