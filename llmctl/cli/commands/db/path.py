"""``llmctl db path``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.core import environment
from llmctl.core.errors import LlmctlError
from llmctl.store.maintenance import backup
from llmctl.store.opening import MEMORY, spool_paths

_COLUMNS = [
    OutputColumn("place"),
    OutputColumn("path"),
    OutputColumn("exists", "bool"),
    OutputColumn("bytes", "number"),
]


@list_output
def path(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="List every path that llmctl writes to.")] = False,
) -> None:
    """Print the path of the hub.

    The hub need not exist; it is not created.

    Examples:
      sqlite3 "$(llmctl db path)" .schema
      llmctl db path --all
    """
    app: App = ctx.obj
    hub = _absolute(app.hub_path)
    if everything:
        emit_list(app.console, _list_paths(app, hub), _COLUMNS)
    elif app.console.format.kind != "auto":
        emit_list(app.console, [_describe("hub", hub)], _COLUMNS)
    else:
        app.console.io.write(f"{hub}\n")


def _list_paths(app: App, hub: str) -> Iterator[dict[str, Any]]:
    """Yield every path that llmctl writes to: what it is for, where it is, whether it exists."""
    yield _describe("hub", hub)
    if hub == MEMORY:
        return
    yield _describe("write-ahead log", f"{hub}-wal")
    yield _describe("shared memory", f"{hub}-shm")
    for copy in backup.list_backups(hub):
        yield _describe("copy of the hub", copy)
    for spool in spool_paths(hub, environment.state_folder(app.env)):
        yield _describe("spool", spool)
    state = environment.state_folder(app.env)
    if state:
        yield _describe("trusted connections", os.path.join(state, "trust"))
    data = environment.data_folder(app.env) or os.path.dirname(hub)
    yield _describe("keys", os.path.join(data, "keys"))
    for file in _list_prisma_files(app):
        yield _describe("prisma", file)
    config = environment.config_folder(app.env)
    if config:
        yield _describe("prompt files", os.path.join(config, "prompts"))


def _list_prisma_files(app: App) -> list[str]:
    from llmctl.engine.maintenance import init

    try:
        return init.list_prisma_files(app.hub())
    except LlmctlError:  # no hub, or one that cannot be read
        return []


def _absolute(path: str) -> str:
    return path if path == MEMORY else os.path.abspath(path)


def _describe(kind: str, path: str) -> dict[str, Any]:
    exists = os.path.exists(path)
    return {"place": kind, "path": path, "exists": exists, "bytes": os.path.getsize(path) if exists else None}
