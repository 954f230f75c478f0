"""Conversations and hubs on their way out: what was asked for, cleaned of secrets, in a format, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.redaction.masking import Clean
from llmctl.core.redaction.secret_patterns import mask_keys
from llmctl.core.stored_json import dumps, loads
from llmctl.core.transfer_records import Row
from llmctl.engine.chats import lookup
from llmctl.formats import exports, jsonl
from llmctl.formats.exports import LOSSLESS, Conversation
from llmctl.store.database import Database
from llmctl.store.records import messages
from llmctl.store.transfer import select
from llmctl.store.transfer.read import Reader
from llmctl.store.transfer.select import Chosen
from llmctl.transport import redact

#: Takes how many messages are out, and how many there are.
Progress = Callable[[int, int], None]

#: After so many messages progress is told.
_EVERY = 500


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be exported. ``since`` is a stored time."""

    chats: Sequence[str] = ()
    everything: bool = False
    since: str | None = None
    format: str = LOSSLESS
    mask_personal: bool = False
    clean: Clean = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clean", Clean(personal=self.mask_personal))


def chosen(database: Database, wish: Wish) -> Chosen:
    """Return the conversations that are meant; raise UsageError where none was named, NotFoundError for a bad name."""
    if wish.chats and wish.everything:
        raise UsageError("--chat and --all ask for different things", hint="leave one of them out")
    if wish.chats:
        ids = [lookup.by_reference(database, ref)["id"] for ref in wish.chats]
        return select.conversations(list(dict.fromkeys(ids)), wish.since)
    if wish.since is not None:
        return select.conversations(None, wish.since)
    if wish.everything:
        return select.whole_hub()
    raise UsageError("nothing to export", hint="name conversations with --chat, or take everything with --all")


def pieces(
    database: Database, wish: Wish, what: Chosen, *, progress: Progress = lambda done, total: None
) -> Iterator[str]:
    """Yield the export as text, of the hub as it is now. Memory does not grow with the hub."""
    render = None if wish.format == LOSSLESS else exports.EXPORTS.load(wish.format)
    reader = Reader(database, what)
    with reader.snapshot():
        total = reader.count()
        if render is None:
            yield jsonl.header_line(reader.header())
            yield from jsonl.lines(_counted(_cleaned(reader.rows(), wish.clean), total, progress), wish.clean)
        else:
            yield from render(_conversations(database, reader, wish.clean, total, progress))


def _counted(rows: Iterator[Row], total: int, progress: Progress) -> Iterator[Row]:
    done = 0
    for row in rows:
        if row.layout.table == "messages":
            done += 1
            if done % _EVERY == 0:
                progress(done, total)
        yield row


def _cleaned(rows: Iterator[Row], clean: Clean) -> Iterator[Row]:
    """Take out what no pattern finds: headers that carry a key, words in pieces, files that nobody can mask."""
    for row in rows:
        table = row.layout.table
        if table == "model_connections":
            yield _with(row, data=_without_keys)
        elif table == "attachments" and clean.personal:
            yield _with(row, content=_nothing)
        elif table == "response_streams" and _may_tell(row, clean):
            yield _with(row, raw_output=_nothing)
        elif table != "stream_chunks" or not clean.personal:
            yield row


def _may_tell(row: Row, clean: Clean) -> bool:
    """Tell whether a stream, which has its words in pieces, may say something that its message must not."""
    said = str(row.values[row.layout.columns.index("result_messages")])
    return clean.personal or mask_keys(said) != said


def _nothing(value: Any) -> None:
    return None


def _with(row: Row, **changes: Callable[[Any], Any]) -> Row:
    values = [
        changes[name](value) if name in changes and value is not None else value
        for name, value in zip(row.layout.columns, row.values, strict=True)
    ]
    return row._replace(values=values)


def _without_keys(text: str) -> str:
    data = loads(text)
    if not isinstance(data, dict) or not isinstance(data.get("headers"), dict):
        return text
    headers = {str(name): str(value) for name, value in data["headers"].items()}
    clean = redact.redact_headers(headers)
    return text if clean == headers else dumps(data | {"headers": clean})


def _conversations(
    database: Database, reader: Reader, clean: Clean, total: int, progress: Progress
) -> Iterator[Conversation]:
    done = 0
    for chat, thread_ids in reader.chats():
        found = [row for id in thread_ids for row in messages.conversation(database, id, steps=True)]
        done += len(found)
        progress(done, total)
        yield Conversation(clean.value(chat), [clean.value(row) for row in found])
