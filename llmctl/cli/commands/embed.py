"""``llmctl embed``: texts to vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.atomic_write import require_writable_path, write_file
from llmctl.cli.console import console as stdin_input
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import answer_output
from llmctl.cli.console.output import emit_json, emit_list
from llmctl.core.errors import UsageError
from llmctl.core.options import TurnOptions
from llmctl.core.stored_values import dumps
from llmctl.core.text_files import read_text_file
from llmctl.core.values import Value

if TYPE_CHECKING:
    from llmctl.engine.single_request import SingleRequestPlan, UsageSummary

_COLUMNS = (
    OutputColumn("index", "number"),
    OutputColumn("text"),
    OutputColumn("dimensions", "number"),
    OutputColumn("embedding"),
)
#: Characters of a text that a table shows.
_MAX_TABLE_TEXT = 60


@answer_output
def embed(
    ctx: typer.Context,
    flags: common_options.EmbedFlags,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; one vector for each.")] = None,
    file: Annotated[
        list[str] | None, typer.Option("--file", "-a", metavar="FILE|-", help="File with a text. Repeatable.")
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Treat each line of files and stdin as a text.")] = False,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Maximum number of texts per request.")] = None,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Write to FILE.")] = None,
    no_log: Annotated[bool, typer.Option("--no-log", "-n", help="Do not store any text, only usage.")] = False,
) -> None:
    """Embed texts as vectors.

    Each TEXT and each file is one text. Without either, stdin is one text, or with --lines each of its lines. A pipe
    gets one JSON array per line, in the order of the texts; --jsonl adds the texts, --json adds usage and cost.
    With --cache, the vectors of each request are stored, and equal requests use them.
    Without -m, a connection of type embedding is used, or the default connection's provider with its usual model.

    Examples:
      llmctl embed -m echo "hello there"
      llmctl embed -m echo --lines --jsonl < names.txt > vectors.jsonl
      llmctl embed -m openai:text-embedding-3-large -o dimensions=256 -a README.md
    """
    app: App = ctx.obj
    EmbedRun(app, EmbedArgs(tuple(texts or ()), tuple(file or ()), lines, batch, output, no_log), flags).run()


class EmbedArgs(Value):
    """The flags of ``embed`` alone."""

    texts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    lines: bool = False
    batch: int | None = None
    output: str | None = None
    no_log: bool = False


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text, and the file it came from."""

    text: str
    file: str | None = None


class EmbedRun:
    """One run of ``embed``."""

    def __init__(self, app: App, args: EmbedArgs, flags: TurnOptions) -> None:
        self._app = app
        self._args = args
        self._flags = flags
        #: Vectors that are written together at the end, and lines of an output file.
        self._rows: list[dict[str, Any]] = []
        self._lines: list[str] = []

    def run(self) -> None:
        """Embed all texts and write the vectors: line by line as they come, or all at the end."""
        from llmctl.cli.commands.shared.single_request import build_plan, finish, open_runner
        from llmctl.engine import single_request

        if self._args.batch is not None and self._args.batch < 1:
            raise UsageError(f'--batch must be 1 or more, got "{self._args.batch}"')
        if self._args.output:
            require_writable_path(self._args.output)
        sources = list(self._read_sources())
        plan = build_plan(self._app, "embedding", self._flags, no_log=self._args.no_log)
        single_request.require_embeddings(plan)
        with open_runner(self._app, plan, lambda summary: self._document(plan, summary)) as runner:
            index = 0
            for answer in single_request.embed(runner, plan, [source.text for source in sources], self._args.batch):
                for vector in answer.vectors:
                    self._write_vector(index, sources[index], vector)
                    index += 1
        self._write_rest(plan, runner.summary)
        finish(self._app, runner, self._flags)

    def _read_sources(self) -> Iterator[SourceText]:
        """Yield the texts: arguments, files, and stdin if there are neither or ``-`` names it."""
        args, app = self._args, self._app
        for text in args.texts:
            if text != "-":
                valid = stdin_input.replace_invalid_utf8(text, "an argument", app.console.note)
                yield SourceText(_require_text(valid, "an argument"))
        for name in args.files:
            if name != "-":
                yield from self._split(_require_text(read_text_file(name).rstrip("\r\n"), f'"{name}"'), name)
        is_named = "-" in args.texts or "-" in args.files
        if is_named or not (args.texts or args.files):
            words = ("-",) if is_named else ()
            piped = stdin_input.read_prompt(
                words, io=app.console.io, env=app.env, note=app.console.note, stdin=self._flags.stdin
            )
            if piped is None:
                raise UsageError("no text", hint='llmctl embed "hello there", or pipe it in', reason="no_prompt")
            yield from self._split(piped, None)

    def _split(self, text: str, file: str | None) -> Iterator[SourceText]:
        if not self._args.lines:
            yield SourceText(text, file)
            return
        yield from (SourceText(line.rstrip("\r"), file) for line in text.split("\n") if line.strip())

    def _write_vector(self, index: int, source: SourceText, vector: Sequence[float]) -> None:
        """Write a vector as a line of its own; keep it if all are written as one document."""
        app = self._app
        origin = {"text": source.text} if source.file is None else {"text": source.text, "file": source.file}
        row = {"index": index, **origin, "embedding": list(vector)}
        is_table = app.console.io.stdout_tty and not app.console.format.is_json and not self._args.output
        if app.console.format.kind == "json" or is_table:
            self._rows.append(row)
            return
        line = dumps(row if app.console.format.kind == "jsonl" else row["embedding"]) + "\n"
        if self._args.output:
            self._lines.append(line)
        else:
            app.console.io.write(line)

    def _write_rest(self, plan: SingleRequestPlan, summary: UsageSummary) -> None:
        output = self._args.output
        if output:
            document = dumps(self._document(plan, summary)) + "\n"
            write_file(output, document if self._app.console.format.kind == "json" else "".join(self._lines))
        elif self._app.console.format.kind == "json":
            emit_json(self._app.console, self._document(plan, summary))
        elif self._rows:
            emit_list(self._app.console, map(_table_row, self._rows), _COLUMNS)

    def _document(self, plan: SingleRequestPlan, summary: UsageSummary) -> dict[str, Any]:
        from llmctl.cli.commands.shared.single_request import target_fields

        dimensions = len(self._rows[0]["embedding"]) if self._rows else None
        return {**summary.to_json(), **target_fields(plan), "dimensions": dimensions, "embeddings": self._rows}


def _table_row(row: Mapping[str, Any]) -> dict[str, Any]:
    text, vector = " ".join(row["text"].split()), row["embedding"]
    short_text = text if len(text) <= _MAX_TABLE_TEXT else text[: _MAX_TABLE_TEXT - 1] + "…"
    numbers = json.dumps([round(number, 4) for number in vector[:4]])
    short_vector = numbers if len(vector) <= 4 else numbers[:-1] + ", …]"
    return {"index": row["index"], "text": short_text, "dimensions": len(vector), "embedding": short_vector}


def _require_text(text: str, source: str) -> str:
    if not text.strip():
        raise UsageError(f"{source} is empty: there is nothing to embed")
    return text
