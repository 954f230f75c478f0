"""``llmctl image``: a prompt to pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import answer


@answer
def image(
    ctx: typer.Context,
    prompt: Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="What to draw.")] = None,
    output: Annotated[str | None, typer.Option(metavar="FILE|-", help="Write to a file, whole or not at all.")] = None,
    attach: Annotated[
        list[str] | None, typer.Option("--attach", "-a", metavar="PATH|URL|-", help="Picture to begin with.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="REF", help="Connection or model.")] = None,
    connection: Annotated[str | None, typer.Option(metavar="NAME", help="Connection to use.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="K=V", help="Option, such as size=1024x1024.")
    ] = None,
    tag: Annotated[str | None, typer.Option(metavar="T", help="Mark the request.")] = None,
    no_log: Annotated[bool, typer.Option("--no-log", "-n", help="Keep no text, only the ledger row.")] = False,
    max_cost: Annotated[float | None, typer.Option(metavar="USD", help="Send nothing that may cost more.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="S", help="Seconds for all of it.")] = None,
    retries: Annotated[int | None, typer.Option(metavar="N", help="Attempts after a failed one. [2]")] = None,
    usage: Annotated[bool, typer.Option("--usage", "-u", help="Print tokens, cost and time to stderr.")] = False,
    stdin: Annotated[bool | None, typer.Option("--stdin/--no-stdin", help="Read stdin, or never touch it.")] = None,
) -> None:
    """Draw a picture, or change one.

    With --output the picture is written to a file; of several (-o n=3) each gets a number, as in logo-1.png. Without
    it a pipe gets the bytes; a terminal is refused. What is piped in follows the prompt.

    Examples:
      llmctl image -m echo "a lighthouse" --output lighthouse.png
      llmctl image -m openai "the same, at night" -a lighthouse.png -o size=1024x1024 > night.png
    """
    from llmctl.cli.errands import Flags
    from llmctl.cli.pictures import Drawing, Wishes

    app: App = ctx.obj
    flags = Flags(model, connection, tuple(option or ()), tag, no_log, timeout, retries, max_cost, usage)
    Drawing(app, Wishes(tuple(prompt or ()), tuple(attach or ()), output, stdin), flags).run()
