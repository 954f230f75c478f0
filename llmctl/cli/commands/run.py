"""``llmctl run``: run a prompt file."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.console.output import answer_output
from llmctl.cli.turn.flags import with_turn_flags


@answer_output
@with_turn_flags
def run(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Prompt file (TOML).")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARG]...", help="Arguments of the prompt.")] = None,
    param: common_options.ParamOption = None,
    continue_: common_options.ContinueOption = False,
    chat: common_options.ContinueChatOption = None,
    no_log: common_options.NoLogOption = False,
) -> None:
    """Run a prompt file: a prompt with its model, options and schema in TOML.

    Its templates can use -p values, the arguments (args) and standard input (stdin); arguments and input that no
    template uses are appended to the prompt. Flags override the file. A file whose first line is
    #!/usr/bin/env -S llmctl run can be executed. More: llmctl help prompt-files

    Examples:
      git diff --staged | llmctl run commit.toml
      llmctl run translate.toml -p language=French "good morning"
    """
    app: App = ctx.obj
    app.run_chat(
        words=tuple(arguments or ()),
        file=file,
        params=tuple(param or ()),
        continue_=continue_,
        chat=chat,
        no_log=no_log,
    )
