"""A hub that is made in passing gets connections for the keys in the environment, without asking anybody."""

from __future__ import annotations

from llmctl.core import clock
from llmctl.core.ids import new_id
from llmctl.core.jsontext import dumps
from llmctl.engine import detect
from llmctl.engine.target import Env
from llmctl.store.database import Database
from llmctl.store.writes import Insert, Write


def connect_environment(database: Database, env: Env) -> list[str]:
    """Make a connection for each provider with a key in the environment; return the names of the new ones."""
    writes: list[Write] = []
    for found in detect.from_environment(env):
        if database.value("SELECT 1 FROM {model_connections} WHERE name = ?", (found.name,)):
            continue
        now = clock.now()
        row = {
            "id": new_id(),
            "name": found.name,
            "provider": found.provider,
            "model_id": found.model,
            "data": dumps({"key": f"env:{found.key_env}"} if found.key_env else {}),
            "created_at": now,
            "updated_at": now,
        }
        writes.append(Insert("model_connections", row))
    database.commit(*writes)
    return [str(write.row["name"]) for write in writes if isinstance(write, Insert)]
