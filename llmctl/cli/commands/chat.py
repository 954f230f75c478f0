"""``llmctl chat``: one-shot, piped, continued or interactive conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.console import answer_output
from llmctl.core.errors import UsageError
from llmctl.core.options import TURN_OPTIONS, TurnOptions

if TYPE_CHECKING:
    from llmctl.cli.turn.input import ChatArgs

FinishOption = Annotated[
    bool,
    typer.Option("--finish", help="With -c and no prompt: finish what is unfinished.", rich_help_panel="Conversation"),
]
ContinueOption = Annotated[
    bool,
    typer.Option(
        "--continue",
        "-c",
        help="Continue the most recent chat from this folder.",
        rich_help_panel="Conversation",
    ),
]
ContinueChatOption = Annotated[
    str | None,
    typer.Option(metavar="REF", help="Continue this chat: id, name or last.", rich_help_panel="Conversation"),
]
InteractiveOption = Annotated[
    bool,
    typer.Option("--interactive", "-i", help="Keep the conversation open.", rich_help_panel="Conversation"),
]
ParamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="K=V",
        help="Template parameter. Repeatable.",
        rich_help_panel="Input",
    ),
]
NoLogOption = Annotated[
    bool,
    typer.Option(
        "--no-log",
        "-n",
        help="Store no text, only the usage of each request.",
        rich_help_panel="Storage",
    ),
]
PromptArgument = Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="The prompt.")]
NameOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Continue the chat NAME, or start it.",
        rich_help_panel="Conversation",
    ),
]
SystemOption = Annotated[
    str | None,
    typer.Option("--system", "-s", metavar="TEXT", help="System prompt.", rich_help_panel="Input"),
]
SystemFileOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Read the system prompt from FILE.", rich_help_panel="Input"),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template",
        "-t",
        metavar="NAME",
        help="Use a prompt file by name or path.",
        rich_help_panel="Input",
    ),
]
MessagesOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|-",
        help="Read a JSON array of messages; print the new ones.",
        rich_help_panel="Input",
    ),
]
SaveOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Keep flags and text as a prompt file; send nothing.",
        rich_help_panel="Input",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="With --save: replace the file of that name.", rich_help_panel="Input")
]


#: All flags of a turn, and several models at once.
CHAT_FLAGS = tuple(TURN_OPTIONS)


@answer_output
def chat(
    ctx: typer.Context,
    flags: Annotated[TurnOptions, CHAT_FLAGS],
    prompt: PromptArgument = None,
    continue_: ContinueOption = False,
    finish: FinishOption = False,
    chat: ContinueChatOption = None,
    name: NameOption = None,
    system: SystemOption = None,
    system_file: SystemFileOption = None,
    template: TemplateOption = None,
    param: ParamOption = None,
    interactive: InteractiveOption = False,
    no_log: NoLogOption = False,
    messages: MessagesOption = None,
    save: SaveOption = None,
    force: ForceOption = False,
) -> None:
    """Chat with a model: one-shot, piped, continued or interactive.

    The answer goes to stdout, everything else to stderr. Piped input is appended to the prompt. Without a prompt, a
    terminal opens an interactive chat; -c continues the last conversation. Off a terminal, or with --finish, -c without
    a prompt finishes what is unfinished. A prompt that got no answer is sent again only that way, or by /retry.
    With --schema, stdout is validated JSON or empty (exit 11); JSON in a fenced block is accepted. With several -m, all
    models are asked at once; the next -c asks which answer goes on. --save keeps the command line as a prompt file for
    llmctl run; with -p K=V the text is a template and {{ K }} its parameter.

    Examples:
      llmctl chat -m echo "hello there"
      git diff | llmctl chat "review this"
      llmctl chat -c "and in one sentence?"
      llmctl chat --schema "name, age int" "invent a person"
      llmctl chat -m echo -m echo:echo "what do you say?"
      llmctl chat --name fix-42 --json "what was the error?"
    """
    from llmctl.cli.turn.input import ChatArgs

    args = ChatArgs(
        words=tuple(prompt or ()), params=tuple(param or ()), template=template, messages=messages,
        system=system, system_file=system_file, continue_=continue_, finish=finish, chat=chat, name=name,
        interactive=interactive, no_log=no_log,
    )  # fmt: skip
    _run(ctx.obj, args, flags, save, force=force)


def _run(app: App, args: ChatArgs, flags: TurnOptions, save: str | None, *, force: bool) -> None:
    """Run the turn, or keep its command line as a prompt file."""
    if save is not None:
        from llmctl.cli.turn.saved_prompts import save_flags

        save_flags(app, args, flags, save, force=force)
        return
    if force:
        raise UsageError("--force requires --save")
    from llmctl.cli.turn.chat import ChatCommand

    ChatCommand(app, args, flags).run()
