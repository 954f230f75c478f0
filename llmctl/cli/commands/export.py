"""``llmctl export``: conversations and whole hubs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.atomic_write import require_writable_path, write_file
from llmctl.cli.console.progress import Progress
from llmctl.cli.listing_args import resolve_last
from llmctl.core import time_ranges
from llmctl.core.errors import UsageError
from llmctl.core.humanize import format_size

if TYPE_CHECKING:
    from llmctl.engine.transfer.export import ExportOptions


IncompleteOption = Annotated[
    bool, typer.Option("--incomplete", help="For training: also answers that broke off (openai, sharegpt).")
]
MaskPersonalOption = Annotated[
    bool, typer.Option("--mask-personal", help="Also mask e-mail addresses, phone, card and bank numbers.")
]


def export(
    ctx: typer.Context,
    chat: Annotated[list[str] | None, typer.Option(metavar="REF", help="Export this conversation. Repeatable.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export the whole hub.")] = False,
    since: common_options.SinceOption = None,
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help="jsonl, markdown, html, csv, openai or sharegpt.")
    ] = "jsonl",
    incomplete: IncompleteOption = False,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Write to FILE (mode 0600).")] = None,
    mask_personal: MaskPersonalOption = False,
    words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Export conversations or the whole hub.

    jsonl keeps everything: an export, imported into an empty hub and exported again, is byte-for-byte identical. The
    other formats are for reading (markdown, html), counting (csv) and training (openai, sharegpt: whole turns that end
    with an answer, text files as they were sent, tools beside their calls; what is left out is counted). What looks
    like a key is masked; keys of connections are references only. --mask-personal masks e-mail addresses, phone
    numbers with a country or area code, IBANs and card numbers (their checksums are verified), and leaves out attached
    files and streams byte by byte; it does not find names.

    Examples:
      llmctl export --chat fix-42 --format markdown
      llmctl export --all --output hub.jsonl
      llmctl export --all | ssh server llmctl import -
    """
    from llmctl.engine.transfer import export as transfer_export
    from llmctl.formats.exports import EXPORTS

    app: App = ctx.obj
    if words:
        raise UsageError(f'unexpected argument "{words[0]}"', hint=f"for one chat: llmctl export --chat {words[0]}")
    EXPORTS.load(format)  # rejects an unknown format before anything is done
    if output is not None:
        require_writable_path(output)
    start = time_ranges.parse_time(since) if since else None
    database = app.hub()
    chats = [resolve_last(app, "chat", ref) for ref in chat or ()]
    options = transfer_export.ExportOptions(chats, everything, start, format, mask_personal, incomplete)
    selection = transfer_export.select_rows(database, options)
    with Progress(app.console, "exporting") as progress:
        pieces = transfer_export.stream_export(database, options, selection, progress=progress)
        if output is None:
            _write_stdout(app, pieces)
        else:
            write_file(output, pieces, private=True)
    _note_result(app, options, output)


def _note_result(app: App, options: ExportOptions, output: str | None) -> None:
    if output is not None:
        app.console.note(f'exported to "{output}", {format_size(os.path.getsize(output))}')
    for left_out in options.skipped.items():
        what = left_out.singular if left_out.number == 1 and left_out.singular else left_out.what
        app.console.note(f"left out: {left_out.number:,} {what}")
    if options.masker.changed_count:
        app.console.note(f"masked what looks like a secret in {options.masker.changed_count:,} places")


def _write_stdout(app: App, pieces: Iterator[str]) -> None:
    if app.console.io.stdout_tty:
        from llmctl.cli.console.terminal import safe_text

        pieces = map(safe_text, pieces)
    for piece in pieces:
        app.console.io.write(piece)
