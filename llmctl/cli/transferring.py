"""``export`` and ``import`` on the command line: where it goes, where it comes from, what is said of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from llmctl.cli import files
from llmctl.cli.app import App
from llmctl.cli.console.output import emit_json
from llmctl.cli.console.progress import Progress
from llmctl.core import time_ranges
from llmctl.core.errors import ConfigError, NotFoundError
from llmctl.engine.transfer import export as transfer_export
from llmctl.engine.transfer import import_ as transfer_import_
from llmctl.engine.transfer import sources
from llmctl.engine.transfer.export import Wish
from llmctl.engine.transfer.import_ import Report
from llmctl.formats.exports import EXPORTS
from llmctl.store.database import Database

#: Problems that a person is told of; ``--json`` has more.
_MOST_TOLD = 20


def export(
    app: App,
    chats: Sequence[str],
    everything: bool,
    since: str | None,
    format: str,
    output: str | None,
    mask_personal: bool,
) -> None:
    """Write an export to a file, whole or not at all, or to stdout."""
    EXPORTS.load(format)  # an unknown one is told of first
    if output is not None:
        files.check_place(output)
    wish = Wish(chats, everything, time_ranges.moment(since) if since else None, format, mask_personal)
    database = app.hub()
    chosen = transfer_export.chosen(database, wish)
    with Progress(app, "exporting") as progress:
        pieces = transfer_export.pieces(database, wish, chosen, progress=progress)
        if output is None:
            _write(app, pieces)
        else:
            files.write_whole(output, pieces, private=True)
    if output is not None:
        app.note(f'exported to "{output}", {os.path.getsize(output):,} bytes')
    if wish.clean.changed:
        app.note(f"masked what looks like a secret in {wish.clean.changed:,} places")


def import_(app: App, file: str, format: str | None, *, dry_run: bool) -> None:
    """Read a file or stdin into the hub, and report."""
    source = _source(app, file, format)
    database = _hub(app, dry_run)
    with Progress(app, "importing") as progress:

        def told(messages: int, done: int, total: int) -> None:
            share = f", {done * 100 // total} %" if total else ""
            progress.word(f"{messages:,} messages{share}")

        report = transfer_import_.run(database, source, dry_run=dry_run, progress=told)
    _say(app, report, file)
    if report.cut:
        raise report.cut


def _write(app: App, pieces: Iterator[str]) -> None:
    if app.io.stdout_tty:
        from llmctl.cli.console.terminal import safe_text

        pieces = map(safe_text, pieces)
    for piece in pieces:
        app.io.write(piece)


def _source(app: App, file: str, format: str | None) -> sources.Source:
    if file == "-":
        return sources.from_stream(app.io.stdin.buffer, format)
    if os.path.isdir(file):
        raise NotFoundError(f'cannot read "{file}": it is a folder', hint="name the file in it")
    return sources.from_file(file, format)


def _hub(app: App, dry_run: bool) -> Database:
    """Return the hub, made where it is missing; a dry run then has one that leaves nothing."""
    if not dry_run:
        return app.hub("create")
    try:
        return app.hub("write")
    except ConfigError as error:
        if error.reason != "no_hub":
            raise
        from llmctl.store.opening import MEMORY, open_hub

        return open_hub(MEMORY, "create")


def _say(app: App, report: Report, file: str) -> None:
    document = report.document()
    if app.format.is_json:
        emit_json(app, document)
    for problem in document["problems"][:_MOST_TOLD]:
        line = f"line {problem['line']}: " if problem["line"] else ""
        app.note(f"{line}{problem['why']}")
    if report.problem_count > _MOST_TOLD:
        app.note(f"and {report.problem_count - _MOST_TOLD:,} more; --json names the first of them")
    for what, count in document["left_out"].items():
        app.note(what if what.endswith("use it") else f"left out: {count:,} {what}")
    lead = "would import" if report.dry_run else "imported"
    app.note(f'{lead} from "{file}" ({report.format}): {_sums(document)}')


def _sums(document: dict[str, Any]) -> str:
    words = [f"{document['conversations']:,} conversations, {document['messages']:,} messages"]
    for fate in ("updated", "unchanged", "skipped"):
        if count := sum(document[fate].values()):
            words.append(f"{count:,} rows {fate}")
    return ", ".join(words)
