"""``llmctl run``: run a prompt file."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.chat import ContinueChatOption, ContinueOption, NoLogOption, ParamOption
from llmctl.cli.console.console import answer_output
from llmctl.core.options import TurnOptions


@answer_output
def run(
    ctx: typer.Context,
    flags: TurnOptions,
    file: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Prompt file, by path or by name.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARG]...", help="Arguments of the prompt.")] = None,
    param: ParamOption = None,
    continue_: ContinueOption = False,
    chat: ContinueChatOption = None,
    no_log: NoLogOption = False,
) -> None:
    """Run a prompt file: a prompt with its model, options and schema in TOML.

    A file of that path comes first, then the prompt file of that name: in .llmctl/prompts of this folder and those
    above it, up to the root of the repository, then in $XDG_CONFIG_HOME/llmctl/prompts; see llmctl prompts list. Its
    templates can use -p values, the arguments (args) and standard input (stdin); arguments and input that no template
    uses are appended to the prompt. Flags override the file. A file whose first line is
    #!/usr/bin/env -S llmctl run can be executed. More: llmctl help prompt-files

    Examples:
      git diff --staged | llmctl run commit.toml
      llmctl run translate -p language=French "good morning"
    """
    from llmctl.cli.turn.chat import ChatCommand
    from llmctl.cli.turn.input import ChatArgs

    app: App = ctx.obj
    args = ChatArgs(
        words=tuple(arguments or ()),
        file=file,
        params=tuple(param or ()),
        continue_=continue_,
        chat=chat,
        no_log=no_log,
    )
    ChatCommand(app, args, flags).run()
