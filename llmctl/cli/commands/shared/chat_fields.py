"""What a command stores with a chat: ``--metadata``, ``--field`` and ``--reference``."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.cli.app import App
from llmctl.cli.turn import options as turn_options
from llmctl.engine.turn.options import PersistOptions
from llmctl.store.database import Database


def parse_chat_fields(
    app: App, database: Database, metadata: Sequence[str], fields: Sequence[str], references: Sequence[str] = ()
) -> PersistOptions:
    """Return the metadata, custom columns and references of a chat that no turn runs for."""
    app.turn_flags = {"metadata": metadata, "field": fields, "reference": references}
    app.turn_flags |= {"no_persist": None, "rollback": False, "tag": None}
    return turn_options.persist_options(app, database.fields.get("chats", {}), {})
