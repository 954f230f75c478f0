"""``llmctl chat``: one-shot, piped, continued or interactive conversation."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import answer
from llmctl.cli.turn.flags import asking


@answer
@asking
def chat(
    ctx: typer.Context,
    prompt: Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="What to say.")] = None,
    continue_: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the newest chat from here.")] = False,
    chat: Annotated[str | None, typer.Option(metavar="REF", help="Go on with this chat; last is the newest.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="N", help="Go on with the chat of that name, or begin it.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System prompt.")] = None,
    system_file: Annotated[str | None, typer.Option(metavar="FILE", help="File with the system prompt.")] = None,
    template: Annotated[
        str | None, typer.Option("--template", "-t", metavar="NAME", help="Prompt file to fill in (see help topics).")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="K=V", help="Value of a parameter of the prompt file.")
    ] = None,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Keep the conversation open.")] = False,
    no_log: Annotated[bool, typer.Option("--no-log", "-n", help="Keep no text, only the ledger row.")] = False,
    messages: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="JSON array of messages in, new messages out.")
    ] = None,
) -> None:
    """Talk to a model: one-shot, piped, continued or interactive.

    The answer goes to stdout, everything else to stderr. What is piped in follows the prompt. Without a prompt a
    terminal opens a conversation; with -c the last one is gone on with, or finished where it broke off. With
    --schema stdout holds JSON that was checked, or nothing (exit 11); the first fenced block will do.

    Examples:
      llmctl chat -m echo "hello there"
      git diff | llmctl chat "review this"
      llmctl chat -c "and in one sentence?"
      llmctl chat --schema "name, age int" "invent a person"
      llmctl chat --name fix-42 --json "what was the error?"
    """
    app: App = ctx.obj
    app.converse(
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
