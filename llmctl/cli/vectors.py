"""From the texts of ``embed`` to vectors on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmctl.cli import errands, stdin
from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_json, emit_list
from llmctl.cli.errands import Flags
from llmctl.cli.files import check_place, write_whole
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.stored_json import dumps
from llmctl.engine.embeddings import embed, embeddings_of
from llmctl.engine.single_request import Account, Errand

_COLUMNS = (Column("index", "number"), Column("text"), Column("dimensions", "number"), Column("embedding"))
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Wishes:
    """The flags of ``embed`` alone."""

    texts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    lines: bool = False
    batch: int | None = None
    output: str | None = None
    stdin: bool | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A text, and the file it came from."""

    text: str
    file: str | None = None


class Embedding:
    """One run of ``embed``."""

    def __init__(self, app: App, wishes: Wishes, flags: Flags) -> None:
        self._app = app
        self._wishes = wishes
        self._flags = flags
        self._rows: list[dict[str, Any]] = []
        self._written: list[str] = []

    def run(self) -> None:
        """Embed everything, and show it: line by line as it comes, or whole."""
        if self._wishes.batch is not None and self._wishes.batch < 1:
            raise UsageError(f'"--batch {self._wishes.batch}" is less than 1')
        if self._wishes.output:
            check_place(self._wishes.output)
        sources = list(self._sources())
        errand = errands.errand_of(self._app, "embedding", self._flags)
        embeddings_of(errand)
        with errands.exchanging(self._app, errand, lambda account: self._document(errand, account)) as exchange:
            place = 0
            for answer in embed(exchange, errand, [source.text for source in sources], self._wishes.batch):
                for vector in answer.vectors:
                    self._show(place, sources[place], vector)
                    place += 1
        self._finish(errand, exchange.account)
        errands.finish(self._app, exchange, self._flags)

    def _sources(self) -> Iterator[Source]:
        """Yield the texts: arguments, files, and stdin where neither is given or ``-`` names it."""
        wishes, app = self._wishes, self._app
        for text in wishes.texts:
            if text != "-":
                yield Source(_some(stdin.clean(text, "an argument", app.note), "an argument"))
        for name in wishes.files:
            if name != "-":
                yield from self._split(_some(_read(name), f'"{name}"'), name)
        named = "-" in wishes.texts or "-" in wishes.files
        if named or not (wishes.texts or wishes.files):
            words = ("-",) if named else ()
            piped = stdin.read_prompt(words, io=app.io, env=app.env, note=app.note, stdin=wishes.stdin)
            if piped is None:
                raise UsageError("no text", hint='llmctl embed "..." (or pipe it in)', reason="no_prompt")
            yield from self._split(piped, None)

    def _split(self, text: str, file: str | None) -> Iterator[Source]:
        if not self._wishes.lines:
            yield Source(text, file)
            return
        yield from (Source(line.rstrip("\r"), file) for line in text.split("\n") if line.strip())

    def _show(self, place: int, source: Source, vector: Sequence[float]) -> None:
        """Write a vector where each has a line of its own; keep it where all of them are one document."""
        app = self._app
        row = {"index": place, **_named(source), "embedding": list(vector)}
        if app.format.kind == "json" or (app.io.stdout_tty and not app.format.is_json and not self._wishes.output):
            self._rows.append(row)
            return
        line = dumps(row if app.format.kind == "jsonl" else row["embedding"]) + "\n"
        if self._wishes.output:
            self._written.append(line)
        else:
            app.io.write(line)

    def _finish(self, errand: Errand, account: Account) -> None:
        output = self._wishes.output
        if output:
            document = dumps(self._document(errand, account)) + "\n"
            write_whole(output, document if self._app.format.kind == "json" else "".join(self._written))
        elif self._app.format.kind == "json":
            emit_json(self._app, self._document(errand, account))
        elif self._rows:
            emit_list(self._app, map(_shortened, self._rows), _COLUMNS)

    def _document(self, errand: Errand, account: Account) -> dict[str, Any]:
        dimensions = len(self._rows[0]["embedding"]) if self._rows else None
        return {**account.as_json(), **errands.ways(errand), "dimensions": dimensions, "embeddings": self._rows}


def _named(source: Source) -> dict[str, Any]:
    return {"text": source.text} if source.file is None else {"text": source.text, "file": source.file}


def _shortened(row: dict[str, Any]) -> dict[str, Any]:
    text, vector = " ".join(row["text"].split()), row["embedding"]
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    numbers = json.dumps([round(number, 4) for number in vector[:4]])
    more = numbers if len(vector) <= 4 else numbers[:-1] + ", …]"
    return {"index": row["index"], "text": shown, "dimensions": len(vector), "embedding": more}


def _read(name: str) -> str:
    try:
        with open(name, encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\r\n")
    except OSError as error:
        raise NotFoundError(f'cannot read "{name}": {error.strerror}') from error


def _some(text: str, what: str) -> str:
    if not text.strip():
        raise UsageError(f"{what} is empty: there is nothing to embed")
    return text
