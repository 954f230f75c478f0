"""``llmctl chat``: one-shot, piped, continued or interactive conversation."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App
from llmctl.cli.console.output import answer_output
from llmctl.cli.global_flags import HelpPanel
from llmctl.cli.turn.flags import with_turn_flags

PromptArgument = Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="The prompt.")]
NameOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Continue the chat NAME, or start it.",
        rich_help_panel=HelpPanel.CONVERSATION,
    ),
]
SystemOption = Annotated[
    str | None,
    typer.Option("--system", "-s", metavar="TEXT", help="System prompt.", rich_help_panel=HelpPanel.INPUT),
]
SystemFileOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Read the system prompt from FILE.", rich_help_panel=HelpPanel.INPUT),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template",
        "-t",
        metavar="NAME",
        help="Use a prompt file by name or path.",
        rich_help_panel=HelpPanel.INPUT,
    ),
]
MessagesOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|-",
        help="Read a JSON array of messages; print the new ones.",
        rich_help_panel=HelpPanel.INPUT,
    ),
]


@answer_output
@with_turn_flags
def chat(
    ctx: typer.Context,
    prompt: PromptArgument = None,
    continue_: common_options.ContinueOption = False,
    chat: common_options.ContinueChatOption = None,
    name: NameOption = None,
    system: SystemOption = None,
    system_file: SystemFileOption = None,
    template: TemplateOption = None,
    param: common_options.ParamOption = None,
    interactive: common_options.InteractiveOption = False,
    no_log: common_options.NoLogOption = False,
    messages: MessagesOption = None,
) -> None:
    """Chat with a model: one-shot, piped, continued or interactive.

    The answer goes to stdout, everything else to stderr. Piped input is appended to the prompt. Without a prompt, a
    terminal opens an interactive chat; -c continues the last conversation, or finishes an interrupted answer.
    With --schema, stdout is validated JSON or empty (exit 11); JSON in a fenced block is accepted.

    Examples:
      llmctl chat -m echo "hello there"
      git diff | llmctl chat "review this"
      llmctl chat -c "and in one sentence?"
      llmctl chat --schema "name, age int" "invent a person"
      llmctl chat --name fix-42 --json "what was the error?"
    """
    app: App = ctx.obj
    app.run_chat(
        words=tuple(prompt or ()),
        continue_=continue_,
        chat=chat,
        name=name,
        system=system,
        system_file=system_file,
        template=template,
        params=tuple(param or ()),
        interactive=interactive,
        no_log=no_log,
        messages=messages,
    )
