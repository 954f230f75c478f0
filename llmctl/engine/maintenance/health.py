"""What is wrong with a hub that only the engine can tell: dead processes, and the schema it should have."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.engine.jobs import lease
from llmctl.store.database import Database
from llmctl.store.maintenance import integrity
from llmctl.store.maintenance.integrity import Finding
from llmctl.store.schema import diff, introspect


def check(database: Database, *, quick: bool = False) -> Iterator[Finding]:
    """Yield what was found, one by one: some of it takes long. ``quick`` leaves out what reads the whole file."""
    yield from integrity.check(database, quick=quick)
    yield _dead(database)
    yield _drift(database)


def _dead(database: Database) -> Finding:
    running = database.query("SELECT * FROM {jobs} WHERE status = 'running' ORDER BY created_at")
    dead = [job for job in running if not lease.is_alive(job)]
    if not dead:
        return Finding("jobs")
    names = ", ".join(f"{job['id'][:8]} ({job['name']})" for job in dead[:5])
    return Finding("jobs", f"their process is dead: {names}", "finish them with: llmctl job recover")


def _drift(database: Database) -> Finding:
    own, expected = introspect.of_hub(database, comments=False), introspect.shipped(database.names)
    found = diff.compare(own, expected, database.names, database.fields)
    if not found:
        return Finding("schema")
    first = f'{found[0].kind} {found[0].what} "{found[0].name}" of "{found[0].table}"'
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return Finding("schema", f"differs from what it should be: {first}{more}", "see: llmctl schema check")
