"""Export conversations or a whole hub in a format, with secrets masked, as a stream of text."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmctl.core import media_types
from llmctl.core.errors import UsageError
from llmctl.core.imported_conversation import SkipCounter
from llmctl.core.redaction import Masker, mask_keys, redact_headers
from llmctl.core.stored_values import dumps, loads
from llmctl.core.transfer_records import ExportRow
from llmctl.formats import exports, jsonl
from llmctl.formats.exports import LOSSLESS, Conversation
from llmctl.store.database import Database
from llmctl.store.records import chats, messages, tools
from llmctl.store.transfer import read
from llmctl.store.transfer.read import ExportSelection, HubReader

#: Receives the number of messages exported so far, and the total.
Progress = Callable[[int, int], None]

#: Progress is reported once per this many messages.
_PROGRESS_EVERY = 500


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export. ``since`` is a stored time."""

    chats: Sequence[str] = ()
    everything: bool = False
    since: str | None = None
    format: str = LOSSLESS
    mask_personal: bool = False
    #: For training: also answers that broke off.
    incomplete: bool = False
    masker: Masker = field(init=False)
    #: What is left out of a format for training.
    skipped: SkipCounter = field(init=False, default_factory=SkipCounter)

    def __post_init__(self) -> None:
        object.__setattr__(self, "masker", Masker(personal=self.mask_personal))


def select_rows(database: Database, options: ExportOptions) -> ExportSelection:
    """Return what to export; raise UsageError for no or conflicting options, NotFoundError for an unknown chat."""
    if options.chats and options.everything:
        raise UsageError("--chat and --all cannot be combined")
    if options.chats:
        ids = [chats.get(database, ref).id for ref in options.chats]
        return read.select_chats(list(dict.fromkeys(ids)), options.since)
    if options.since is not None:
        return read.select_chats(None, options.since)
    if options.everything:
        return read.select_all()
    raise UsageError(
        "nothing is selected", hint="export everything: llmctl export --all; or conversations: --chat REF, --since TIME"
    )


def stream_export(
    database: Database,
    options: ExportOptions,
    selection: ExportSelection,
    *,
    progress: Progress = lambda done, total: None,
) -> Iterator[str]:
    """Yield the export as text, from a snapshot of the hub; memory use does not grow with the hub."""
    render = None if options.format == LOSSLESS else _load_renderer(options)
    reader = HubReader(database, selection)
    with reader.snapshot():
        total = reader.count()
        if render is None:
            yield jsonl.format_header(reader.header())
            yield from jsonl.format_lines(
                _count_messages(_mask_rows(reader.rows(), options.masker), total, progress), options.masker
            )
        else:
            found = _load_conversations(database, reader, options.masker, total, progress)
            yield from render(_add_training_data(database, found, options))


def _load_renderer(options: ExportOptions) -> Callable[[Iterator[Conversation]], Iterator[str]]:
    if options.format not in exports.TRAINING:
        return exports.EXPORTS.load(options.format)
    from llmctl.formats import training

    render = exports.TRAINING.load(options.format)
    return lambda found: render(training.list_examples(found, options.skipped, incomplete=options.incomplete))


def _add_training_data(
    database: Database, found: Iterator[Conversation], options: ExportOptions
) -> Iterator[Conversation]:
    """Yield conversations, for training with the content of their files and the tools they call."""
    if options.format not in exports.TRAINING:
        yield from found
        return
    known = {tool["name"]: tool for tool in tools.list_(database)}
    for conversation in found:
        called = dict.fromkeys(call["name"] for message in conversation.messages for call in message["tool_calls"])
        found_messages = conversation.messages
        if not options.mask_personal and any(message["attachments"] for message in found_messages):
            found_messages = [_add_file_contents(database, message, options.masker) for message in found_messages]
        yield replace(conversation, messages=found_messages, tools=[known[name] for name in called if name in known])


def _add_file_contents(database: Database, message: Mapping[str, Any], masker: Masker) -> Mapping[str, Any]:
    files = [_add_file_content(database, file, masker) for file in message["attachments"]]
    return {**message, "attachments": files}


def _add_file_content(database: Database, file: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    data = messages.find_attachment_content(database, file["id"])
    if data is None:
        return dict(file)
    if media_types.is_text(file["media_type"]):
        return {**file, "text": masker.mask_text(data.decode("utf-8-sig", "replace"))}
    if file["media_type"].startswith("image/"):
        return {**file, "data_url": f"data:{file['media_type']};base64,{b64encode(data).decode()}"}
    return dict(file)


def _count_messages(rows: Iterator[ExportRow], total: int, progress: Progress) -> Iterator[ExportRow]:
    done = 0
    for row in rows:
        if row.layout.table == "messages":
            done += 1
            if done % _PROGRESS_EVERY == 0:
                progress(done, total)
        yield row


def _mask_rows(rows: Iterator[ExportRow], masker: Masker) -> Iterator[ExportRow]:
    """Mask what patterns in texts cannot: headers with keys, text split into chunks, the content of files."""
    for row in rows:
        table = row.layout.table
        if table == "model_connections":
            yield _replace_values(row, data=_mask_headers)
        elif table == "attachments" and masker.personal:
            yield _replace_values(row, content=_clear)
        elif table == "response_streams" and _may_hold_masked_text(row, masker):
            yield _replace_values(row, raw_output=_clear)
        elif table != "stream_chunks" or not masker.personal:
            yield row


def _may_hold_masked_text(row: ExportRow, masker: Masker) -> bool:
    """Return whether a stream, whose text is in chunks, may hold text that is masked in its message."""
    text = str(row.values[row.layout.columns.index("result_messages")])
    return masker.personal or mask_keys(text) != text


def _clear(value: Any) -> None:
    return None


def _replace_values(row: ExportRow, **changes: Callable[[Any], Any]) -> ExportRow:
    values = [
        changes[name](value) if name in changes and value is not None else value
        for name, value in zip(row.layout.columns, row.values, strict=True)
    ]
    return row._replace(values=values)


def _mask_headers(text: str) -> str:
    data = loads(text)
    if not isinstance(data, dict) or not isinstance(data.get("headers"), dict):
        return text
    headers = {str(name): str(value) for name, value in data["headers"].items()}
    masker = redact_headers(headers)
    return text if masker == headers else dumps(data | {"headers": masker})


def _load_conversations(
    database: Database, reader: HubReader, masker: Masker, total: int, progress: Progress
) -> Iterator[Conversation]:
    done = 0
    for chat, thread_ids in reader.chats():
        found = [row for id in thread_ids for row in messages.conversation(database, id, steps=True)]
        done += len(found)
        progress(done, total)
        yield Conversation(masker.mask_value(chat), [masker.mask_value(row) for row in found])
