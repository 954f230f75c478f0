"""``llmctl embed``: texts to vectors."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import answer


@answer
def embed(
    ctx: typer.Context,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts, each a vector.")] = None,
    file: Annotated[list[str] | None, typer.Option("--file", "-a", metavar="FILE|-", help="File with a text.")] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Each line of files and stdin is a text.")] = False,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="REF", help="Connection or model.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="NAME", help="Connection to use.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="K=V", help="Option, such as dimensions=256.")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Most texts in one request.")] = None,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Write to a file, whole or not at all.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="T", help="Mark the requests.")] = None,
    no_log: Annotated[bool, typer.Option("--no-log", "-n", help="Keep no text, only the ledger row.")] = False,
    max_cost: Annotated[float | None, typer.Option(metavar="USD", help="Send nothing that may cost more.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="S", help="Seconds for all of it.")] = None,
    retries: Annotated[int | None, typer.Option(metavar="N", help="Attempts after a failed one. [2]")] = None,
    usage: Annotated[bool, typer.Option("--usage", "-u", help="Print tokens, cost and time to stderr.")] = False,
    stdin: Annotated[bool | None, typer.Option("--stdin/--no-stdin", help="Read stdin, or never touch it.")] = None,
) -> None:
    """Turn texts into vectors.

    Each TEXT and each file is one text. Without any, what is piped in is one; with --lines each of its lines is.
    A pipe gets one JSON array a line, in the order of the texts; --jsonl adds the texts, --json the numbers of the
    ledger. Without -m a connection of type embedding answers, or the default one's provider with its usual model.

    Examples:
      llmctl embed -m echo "hello there"
      llmctl embed -m echo --lines --jsonl < names.txt > vectors.jsonl
      llmctl embed -m openai:text-embedding-3-large -o dimensions=256 -a README.md
    """
    from llmctl.cli.errands import Flags
    from llmctl.cli.vectors import Embedding, Wishes

    app: App = ctx.obj
    flags = Flags(model, connection, tuple(option or ()), tag, no_log, timeout, retries, max_cost, usage)
    Embedding(app, Wishes(tuple(texts or ()), tuple(file or ()), lines, batch, output, stdin), flags).run()
