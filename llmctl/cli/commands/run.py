"""``llmctl run``: a prompt that stands in a file."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import answer
from llmctl.cli.turn.flags import asking


@answer
@asking
def run(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Prompt file (TOML).")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARG]...", help="Words for the prompt.")] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="K=V", help="Value of a parameter of the file.")
    ] = None,
    continue_: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the newest chat from here.")] = False,
    chat: Annotated[str | None, typer.Option(metavar="REF", help="Go on with this chat; last is the newest.")] = None,
    no_log: Annotated[bool, typer.Option("--no-log", "-n", help="Keep no text, only the ledger row.")] = False,
) -> None:
    """Run a prompt file: a prompt with its model, options and schema in TOML.

    Its templates are filled in with -p values, the arguments (args) and standard input (stdin); what they do not
    name follows the prompt, as in chat. Flags go before what the file says. With the first line
    #!/usr/bin/env -S llmctl run a file is a program. More: llmctl help prompt-files

    Examples:
      git diff --staged | llmctl run commit.toml
      llmctl run translate.toml -p language=French "good morning"
    """
    app: App = ctx.obj
    app.converse(
        words=tuple(arguments or ()),
        file=file,
        params=tuple(param or ()),
        continue_=continue_,
        chat=chat,
        no_log=no_log,
    )
