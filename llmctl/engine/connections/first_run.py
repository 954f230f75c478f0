"""A hub that is made in passing gets connections for the keys in the environment, without asking anybody."""

from __future__ import annotations

from llmctl.engine.connections import discovery, edit
from llmctl.engine.connections.target import Env
from llmctl.store.database import Database


def connect_environment(database: Database, env: Env) -> list[str]:
    """Make a connection for each provider with a key in the environment; return the names of the new ones."""
    found = edit.add_found(database, discovery.from_environment(env))
    return [way.name for way, is_new in found if is_new]
