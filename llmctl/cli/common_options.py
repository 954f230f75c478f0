"""Options that several commands have, as typer wants them."""

from __future__ import annotations

from typing import Annotated

import typer

Limit = Annotated[int, typer.Option(metavar="N", help="At most so many; 0 is all.")]
Since = Annotated[str | None, typer.Option(metavar="T", help="From this time on: 2026-10-05, 7d, 2h.")]
OfModel = Annotated[str | None, typer.Option("--model", "-m", metavar="ID", help="Of this model.")]
OfChat = Annotated[str | None, typer.Option(metavar="REF", help="Of this chat.")]
Force = Annotated[bool, typer.Option("--force", help="Take it from a live process, too.")]

Chat = Annotated[str, typer.Argument(metavar="REF", help="Chat: id, name, beginning of an id, or last.")]
Name = Annotated[str | None, typer.Option(metavar="N", help="Name of the chat.")]
Description = Annotated[str | None, typer.Option(metavar="T", help="What it is about.")]
System = Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System prompt.")]
Model = Annotated[str | None, typer.Option("--model", "-m", metavar="REF", help="Connection, alias or model.")]
Connection = Annotated[str | None, typer.Option(metavar="NAME", help="Connection to use.")]
Options = Annotated[list[str] | None, typer.Option("--option", "-o", metavar="K=V", help="Option of the model.")]
Metadata = Annotated[list[str] | None, typer.Option(metavar="K=V|K:=JSON", help="Keep this with the chat.")]
Field = Annotated[list[str] | None, typer.Option(metavar="K=V", help="Fill a custom column.")]
Reference = Annotated[list[str] | None, typer.Option(metavar="K=ID", help="Point to another record.")]
