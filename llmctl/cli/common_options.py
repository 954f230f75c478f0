"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.core.options import TurnOptions

LimitOption = Annotated[int, typer.Option(metavar="N", help="Maximum number of rows; 0 for all.")]
SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only from this time on: 2026-10-05, 7d, 2h, month.")
]
ModelFilterOption = Annotated[str | None, typer.Option("--model", "-m", metavar="ID", help="Only this model.")]
ChatFilterOption = Annotated[str | None, typer.Option(metavar="REF", help="Only this chat.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Release it even if the process is still running.")]

ChatArgument = Annotated[str, typer.Argument(metavar="REF", help="Chat: id, id prefix, name, or last.")]
ChatNameOption = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the chat.")]
DescriptionOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Description.")]
SystemOption = Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System prompt.")]
ModelOptionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="K=V",
        help="Model option, such as temperature=0.2; K:=JSON sends any name and value. Repeatable.",
    ),
]
ReferenceOption = Annotated[list[str] | None, typer.Option(metavar="K=ID", help="Link to another record. Repeatable.")]

#: Flags of commands that send requests outside of a chat.
RequestFlags = Annotated[
    TurnOptions, ("model", "connection", "options", "tag", "max_cost", "timeout", "retries", "usage", "stdin")
]
EmbedFlags = Annotated[
    TurnOptions,
    (
        *("model", "connection", "options", "tag", "max_cost", "timeout", "retries", "usage", "stdin"),
        *("cache", "refresh", "cached_only"),
    ),
]
#: Flags of commands that create or edit chats and agents.
ChatFlags = Annotated[
    TurnOptions,
    ("model", "connection", "options", "thinking", "tools", "metadata", "fields", "references", "no_persist"),
]
AgentFlags = Annotated[TurnOptions, ("model", "connection", "options", "thinking", "tools")]
SessionFlags = Annotated[TurnOptions, ("metadata", "fields")]
