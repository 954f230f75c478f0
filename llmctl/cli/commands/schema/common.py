"""What the commands of the schema share: the hub's catalogue, or that of a hub that does not exist yet."""

from __future__ import annotations

import os
from collections.abc import Mapping

from llmctl.cli.app import App
from llmctl.store.schema import introspect
from llmctl.store.schema.introspect import Catalogue, Statement


def load_statements(app: App) -> tuple[tuple[Statement, ...], Mapping[str, str]]:
    """Return the statements of :func:`load_catalogue` and nothing else, which is faster."""
    if _has_no_hub(app):
        return introspect.describe_schema().statements, {}
    database = app.hub()
    return introspect.hub_statements(database), database.names


def load_catalogue(app: App) -> tuple[Catalogue, Mapping[str, str]]:
    """Return the hub's catalogue and table names; those of a new hub if there is none and none was named."""
    if _has_no_hub(app):
        return introspect.describe_schema(), {}
    database = app.hub()
    return introspect.describe_hub(database), database.names


def _has_no_hub(app: App) -> bool:
    return app.db is None and not os.path.exists(app.hub_path)
