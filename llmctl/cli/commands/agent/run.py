"""``llmctl agent run``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.chat import FinishOption, InteractiveOption, NoLogOption, PromptArgument
from llmctl.cli.console.console import answer_output
from llmctl.core.options import TurnOptions

AgentArgument = Annotated[str, typer.Argument(metavar="REF|FILE", help="Agent by name, or its file.")]
SessionOption = Annotated[
    str | None, typer.Option(metavar="REF", help="Continue this session, or last.", rich_help_panel="Conversation")
]
SessionChatOption = Annotated[
    str | None,
    typer.Option("--chat", metavar="REF", help="Continue the session of this chat.", rich_help_panel="Conversation"),
]
ContinueSessionOption = Annotated[
    bool,
    typer.Option(
        "--continue",
        "-c",
        help="Continue the agent's most recent session.",
        rich_help_panel="Conversation",
    ),
]
SessionNameOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Continue the session NAME, or start it.", rich_help_panel="Conversation"),
]
InstructionParamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="K=V",
        help="Parameter of the instructions, for this turn only. Repeatable.",
        rich_help_panel="Input",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Allow a session of another agent.", rich_help_panel="Conversation")
]


@answer_output
def run(
    ctx: typer.Context,
    flags: TurnOptions,
    agent: AgentArgument,
    prompt: PromptArgument = None,
    session: SessionOption = None,
    chat: SessionChatOption = None,
    continue_: ContinueSessionOption = False,
    finish: FinishOption = False,
    name: SessionNameOption = None,
    param: InstructionParamOption = None,
    force: ForceOption = False,
    interactive: InteractiveOption = False,
    no_log: NoLogOption = False,
) -> None:
    """Talk to an agent, in a new or an existing session.

    Model, tools, instructions and options come from its current definition; history and metadata come from the hub.
    Without a prompt, a terminal opens an interactive chat. Off a terminal, or with --finish, -c without a prompt
    finishes what is unfinished.

    Examples:
      llmctl agent run helper "what time is it?"
      llmctl agent run support --metadata user=ann -c "and the refund?"
    """
    from llmctl.cli.turn.chat import ChatCommand
    from llmctl.cli.turn.input import ChatArgs

    app: App = ctx.obj
    args = ChatArgs(
        words=tuple(prompt or ()),
        agent=agent,
        params=tuple(param or ()),
        session=session,
        chat=chat,
        continue_=continue_,
        finish=finish,
        name=name,
        force=force,
        interactive=interactive,
        no_log=no_log,
    )
    ChatCommand(app, args, flags).run()
