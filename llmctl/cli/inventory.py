"""Every place on disk that llmctl writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from llmctl.cli.app import App
from llmctl.core import paths as xdg
from llmctl.core.errors import LlmctlError
from llmctl.store import write_spool
from llmctl.store.maintenance import backup
from llmctl.store.opening import MEMORY

Row = dict[str, Any]


def hub(app: App) -> Iterator[Row]:
    """Yield the hub's own place."""
    yield _place("hub", absolute(app.hub_path))


def places(app: App) -> Iterator[Row]:
    """Yield every place: what it is for, where it is, whether it is there."""
    path = absolute(app.hub_path)
    yield _place("hub", path)
    if path == MEMORY:
        return
    yield _place("write-ahead log", f"{path}-wal")
    yield _place("shared memory", f"{path}-shm")
    for copy in backup.beside(path):
        yield _place("copy of the hub", copy)
    for waiting in write_spool.places(path, xdg.state_folder(app.env)):
        yield _place("spool", waiting)
    data = xdg.data_folder(app.env) or os.path.dirname(path)
    yield _place("keys", os.path.join(data, "keys"))
    for file in _prisma(app):
        yield _place("prisma", file)
    config = xdg.config_folder(app.env)
    if config:
        yield _place("prompt files", os.path.join(config, "prompts"))


def absolute(path: str) -> str:
    return path if path == MEMORY else os.path.abspath(path)


def _prisma(app: App) -> list[str]:
    from llmctl.engine.maintenance import prisma_file

    try:
        return prisma_file.places(app.hub())
    except LlmctlError:  # no hub, or none that can be read: its place is all there is to say
        return []


def _place(kind: str, path: str) -> Row:
    there = os.path.exists(path)
    return {"place": kind, "path": path, "exists": there, "bytes": os.path.getsize(path) if there else None}
