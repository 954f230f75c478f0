"""``llmctl export``: conversations and whole hubs out."""

from __future__ import annotations

from typing import Annotated

import typer

from llmctl.cli import common_options
from llmctl.cli.app import App


def export(
    ctx: typer.Context,
    chat: Annotated[list[str] | None, typer.Option(metavar="REF", help="This conversation; repeatable.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole hub.")] = False,
    since: common_options.Since = None,
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="F", help="jsonl, markdown, html, csv, openai or sharegpt.")
    ] = "jsonl",
    output: Annotated[str | None, typer.Option(metavar="FILE", help="Write it here, for nobody else to read.")] = None,
    mask_personal: Annotated[
        bool, typer.Option("--mask-personal", help="Strike out e-mail addresses, phone, card and bank numbers too.")
    ] = False,
) -> None:
    """Write out conversations, or the whole hub.

    jsonl keeps everything that belongs to them: what is exported, imported into an empty hub and exported again is the
    same to the byte. The other formats are for reading (markdown, html), counting (csv) and training (openai,
    sharegpt). What looks like a key is masked; keys of connections are references and never more. --mask-personal
    masks e-mail addresses, phone numbers with a country's or area's code, IBANs and card numbers (their check sums
    are tested), and leaves out the content of attached files and what models sent byte by byte; names are not found.

    Examples:
      llmctl export --chat fix-42 --format markdown
      llmctl export --all --output hub.jsonl
      llmctl export --all | ssh server llmctl import -
    """
    from llmctl.cli import transferring

    app: App = ctx.obj
    transferring.export(app, chat or (), everything, since, format, output, mask_personal)
