"""``llmctl doctor``: diagnose the hub, its files, connections and keys, and suggest fixes."""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from llmctl.core.errors import ConfigError, LlmctlError, StorageError
from llmctl.core.humanize import format_duration, pluralize
from llmctl.engine.connections import keys, target, trust
from llmctl.engine.jobs import lease
from llmctl.engine.runtime import RuntimeEnv
from llmctl.store import hub_files, opening
from llmctl.store.database import Database
from llmctl.store.maintenance import backup, integrity
from llmctl.store.maintenance.integrity import Finding
from llmctl.store.opening import spool_paths
from llmctl.store.records import connections, jobs, settings
from llmctl.store.records.types import ConnectionRow
from llmctl.store.schema import diff, introspect, migrations

Kind = Literal["config", "storage"]

#: Versions in which two simultaneous checkpoints can corrupt a WAL database: https://sqlite.org/wal.html.
_WAL_BUG_VERSIONS = ((3, 7, 0), (3, 51, 2))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check: ``ok``, a ``note`` (worth knowing, nothing is wrong), or a ``problem``."""

    name: str
    status: Literal["ok", "note", "problem"]
    message: str = ""
    hint: str | None = None
    kind: Kind = "storage"


def diagnose(path: str, runtime: RuntimeEnv, *, network: bool = False) -> Iterator[CheckResult]:
    """Yield the result of each check. The network is not used unless ``network`` is set."""
    yield _check_sqlite()
    if not os.path.exists(path):
        yield CheckResult("hub", "problem", f'no hub at "{path}"', "create one: llmctl init", "config")
        return
    try:
        database = opening.open_hub(path)
    except LlmctlError as error:
        yield CheckResult("hub", "problem", error.message, error.hint)
        return
    try:
        yield from _check_hub(database, runtime)
        yield from _check_connections(database, runtime, network)
    finally:
        database.close()


def to_error(problems: list[CheckResult]) -> LlmctlError | None:
    """Return the error to exit with: storage problems take precedence over configuration."""
    if not problems:
        return None
    text = f"{pluralize(len(problems), 'problem')} found"
    if any(problem.kind == "storage" for problem in problems):
        return StorageError(text, reason="unwell")
    return ConfigError(text, reason="unwell")


def _check_sqlite() -> CheckResult:
    version = sqlite3.sqlite_version
    if _WAL_BUG_VERSIONS[0] <= sqlite3.sqlite_version_info <= _WAL_BUG_VERSIONS[1]:
        return CheckResult(
            "sqlite",
            "note",
            f"SQLite {version} can, very rarely, corrupt a hub when two processes checkpoint it at the same instant",
            "fixed in 3.51.3; keep a backup: llmctl db backup hub-backup.db",
        )
    return CheckResult("sqlite", "ok", f"SQLite {version}")


def _check_hub(database: Database, runtime: RuntimeEnv) -> Iterator[CheckResult]:
    yield CheckResult("hub", "ok", f'"{database.path}", schema {migrations.schema_version(database)}')
    for finding in check_integrity(database, quick=True):
        if finding.problem:
            yield CheckResult(finding.name, "problem", finding.problem, finding.hint)
        else:
            yield CheckResult(finding.name, "ok")
    yield _check_version(database)
    yield _check_modes(database.path)
    yield _check_access(database.path)
    yield from _check_spool(database.path, runtime)
    yield from _check_drafts(database.path)


def _check_version(database: Database) -> CheckResult:
    steps = migrations.list_pending(database)
    if not steps:
        return CheckResult("version", "ok")
    return CheckResult("version", "problem", f"{pluralize(len(steps), 'migration')} pending", "run: llmctl db migrate")


def _check_modes(path: str) -> CheckResult:
    shared = [
        name
        for name in (path, f"{path}-wal", *backup.list_backups(path))
        if os.path.exists(name) and stat.S_IMODE(os.stat(name).st_mode) & 0o077
    ]
    if not shared:
        return CheckResult("modes", "ok")
    return CheckResult(
        "modes", "note", f"other users can open {', '.join(shared)}", f"to prevent that: chmod 600 {' '.join(shared)}"
    )


def _check_access(path: str) -> CheckResult:
    folder = os.path.dirname(os.path.abspath(path))
    if os.access(path, os.W_OK) and os.access(folder, os.W_OK):
        return CheckResult("access", "ok")
    return CheckResult("access", "problem", f'no permission to write to "{path}" or its folder', "check owner and mode")


def _check_spool(path: str, runtime: RuntimeEnv) -> Iterator[CheckResult]:
    for spool_path in spool_paths(path, runtime.spool_folder):
        if os.path.exists(spool_path):
            yield CheckResult(
                "spool",
                "note",
                f'"{spool_path}" contains writes that an earlier run could not complete',
                "replay them: llmctl job recover",
            )


def _check_drafts(path: str) -> Iterator[CheckResult]:
    drafts = hub_files.list_dead_drafts(path)
    if drafts:
        names = " ".join(map(shlex.quote, drafts))
        yield CheckResult(
            "drafts",
            "note",
            f"copies of the hub that killed runs left: {', '.join(drafts)}",
            f"delete them: rm {names}",
        )


def _check_connections(database: Database, runtime: RuntimeEnv, network: bool) -> Iterator[CheckResult]:
    remote = connections.list_remote(database)
    if not remote:
        yield CheckResult("connections", "problem", "no connection to a model", target.SETUP_HINT, "config")
    elif settings.get(database, "default_connection") and trust.default_name(database, runtime.env) is None:
        yield CheckResult(
            "connections",
            "problem",
            "the default connection was removed",
            "choose another: llmctl connection default NAME",
            "config",
        )
    if not trust.is_own_hub(database, runtime.env):
        yield CheckResult(
            "trust",
            "note",
            "this hub is not known to be yours: its tools ask, whatever it stores",
            "if it is: llmctl connection trust --all",
            "config",
        )
    for connection in remote:
        yield _check_connection(database, connection, runtime, network)


def _check_connection(database: Database, connection: ConnectionRow, runtime: RuntimeEnv, network: bool) -> CheckResult:
    name = f"connection {connection.name}"
    try:
        found = target.for_connection(database, connection.id, runtime.env)
        if not trust.is_trusted(database, connection, runtime.env):
            use = trust.describe_use(connection, found.base_url)
            hint = f"if that is right: llmctl connection trust {shlex.quote(connection.name)}"
            return CheckResult(name, "note", f"not trusted here, so it is not used: {use}", hint, "config")
        if _has_key_command(found):  # it may prompt its user, cost money or change something
            hint = f"test it: llmctl connection test {shlex.quote(connection.name)}"
            return CheckResult(name, "note", "not checked: a command gives its key", hint, "config")
        target.resolve_endpoint(database, found, runtime)
        note = _key_note(found.key, runtime)
        if network:
            from llmctl.engine import connection_test  # only when the network is used

            listing = connection_test.check_connection(database, found, runtime, record=False)
            return CheckResult(
                name, "ok", f"{pluralize(len(listing.models), 'model')}, {format_duration(listing.duration_ms)}"
            )
    except LlmctlError as error:
        return CheckResult(name, "problem", error.message, error.hint, "config")
    return CheckResult(name, "note", note, None, "config") if note else CheckResult(name, "ok")


def _has_key_command(found: target.Target) -> bool:
    return any(value.startswith("command:") for value in (found.key or "", *found.headers.values()))


def _key_note(reference: str | None, runtime: RuntimeEnv) -> str | None:
    if reference is None or not reference.startswith("file:"):
        return None
    return keys.resolve(reference, env=runtime.env, home=runtime.home, on_terminal=runtime.on_terminal).note


def to_record(result: CheckResult) -> dict[str, Any]:
    """Return a result as JSON."""
    return {
        "name": result.name,
        "status": result.status,
        "message": result.message or None,
        "hint": result.hint,
        "kind": result.kind if result.status == "problem" else None,
    }


# --- the hub: its integrity, jobs whose process died, schema differences


def check_integrity(database: Database, *, quick: bool = False) -> Iterator[Finding]:
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
    return Finding("jobs", f"the process of these jobs is dead: {names}", "recover them: llmctl job recover")


def _check_schema(database: Database) -> Finding:
    own, expected = introspect.describe_hub(database, comments=False), introspect.describe_schema(database.names)
    compared = diff.compare(own, expected, database.names, database.fields)
    found = [difference for difference in compared if not diff.is_own_index(difference)]
    if not found:
        return Finding("schema")
    first = f'{found[0].kind} {found[0].what} "{found[0].name}" of "{found[0].table}"'
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return Finding("schema", f"the schema differs from the expected one: {first}{more}", "see: llmctl schema check")
