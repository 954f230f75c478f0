"""``llmctl db path``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import OutputColumn, emit_list, list_output
from llmctl.core import paths
from llmctl.core.errors import LlmctlError
from llmctl.store import write_spool
from llmctl.store.maintenance import backup
from llmctl.store.opening import MEMORY

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
        emit_list(app, _list_paths(app, hub), _COLUMNS)
    elif app.format.kind != "auto":
        emit_list(app, [_describe("hub", hub)], _COLUMNS)
    else:
        app.io.write(f"{hub}\n")


def _list_paths(app: App, hub: str) -> Iterator[dict[str, Any]]:
    """Yield every path that llmctl writes to: what it is for, where it is, whether it exists."""
    yield _describe("hub", hub)
    if hub == MEMORY:
        return
    yield _describe("write-ahead log", f"{hub}-wal")
    yield _describe("shared memory", f"{hub}-shm")
    for copy in backup.list_backups(hub):
        yield _describe("copy of the hub", copy)
    for spool in write_spool.spool_paths(hub, paths.state_folder(app.env)):
        yield _describe("spool", spool)
    data = paths.data_folder(app.env) or os.path.dirname(hub)
    yield _describe("keys", os.path.join(data, "keys"))
    for file in _list_prisma_files(app):
        yield _describe("prisma", file)
    config = paths.config_folder(app.env)
    if config:
        yield _describe("prompt files", os.path.join(config, "prompts"))


def _list_prisma_files(app: App) -> list[str]:
    from llmctl.engine.maintenance import prisma_file

    try:
        return prisma_file.list_files(app.hub())
    except LlmctlError:  # no hub, or one that cannot be read
        return []


def _absolute(path: str) -> str:
    return path if path == MEMORY else os.path.abspath(path)


def _describe(kind: str, path: str) -> dict[str, Any]:
    exists = os.path.exists(path)
    return {"place": kind, "path": path, "exists": exists, "bytes": os.path.getsize(path) if exists else None}
