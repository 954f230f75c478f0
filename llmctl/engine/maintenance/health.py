"""Check a hub: integrity (from the store), jobs whose process died, and schema differences."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.engine.jobs import lease
from llmctl.store.database import Database
from llmctl.store.maintenance import integrity
from llmctl.store.maintenance.integrity import Finding
from llmctl.store.records import jobs
from llmctl.store.schema import diff, introspect


def check(database: Database, *, quick: bool = False) -> Iterator[Finding]:
    """Yield findings one at a time; some checks are slow. ``quick`` skips those that read the whole file."""
    yield from integrity.run_checks(database, quick=quick)
    yield _check_jobs(database)
    yield _check_schema(database)


def _check_jobs(database: Database) -> Finding:
    running = jobs.list_running(database)
    dead = [job for job in running if not lease.is_alive(job)]
    if not dead:
        return Finding("jobs")
    names = ", ".join(f"{job.id[:8]} ({job.name})" for job in dead[:5])
    return Finding("jobs", f"the process of these jobs is dead: {names}", "recover them with: llmctl job recover")


def _check_schema(database: Database) -> Finding:
    own, expected = introspect.describe_hub(database, comments=False), introspect.describe_schema(database.names)
    found = diff.compare(own, expected, database.names, database.fields)
    if not found:
        return Finding("schema")
    first = f'{found[0].kind} {found[0].what} "{found[0].name}" of "{found[0].table}"'
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return Finding("schema", f"the schema differs from the expected one: {first}{more}", "see: llmctl schema check")
