"""What ``llmctl doctor`` finds: what is wrong with the hub, its keys and places, and how to mend it."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from llmctl.core.errors import ConfigError, LlmctlError, StorageError
from llmctl.engine.connections import keys, target
from llmctl.engine.maintenance import health
from llmctl.engine.turn.options import Surroundings
from llmctl.store import opening, write_spool
from llmctl.store.database import Database, Row
from llmctl.store.maintenance import backup
from llmctl.store.records import connections
from llmctl.store.schema import migrations

Kind = Literal["config", "storage"]

#: Versions in which two checkpoints at the same instant can damage a write-ahead hub; https://sqlite.org/wal.html.
_WAL_RESET = ((3, 7, 0), (3, 51, 2))


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that was looked at: ``ok``, a ``note`` (nothing is wrong), or a ``problem``."""

    name: str
    status: Literal["ok", "note", "problem"]
    message: str = ""
    hint: str | None = None
    kind: Kind = "storage"


def examine(path: str, around: Surroundings, *, network: bool = False) -> Iterator[Symptom]:
    """Yield everything that was looked at. Nothing is asked of the network unless ``network`` says so."""
    yield _sqlite()
    if not os.path.exists(path):
        yield Symptom("hub", "problem", f'there is no hub at "{path}"', "make one with: llmctl init", "config")
        return
    try:
        database = opening.open_hub(path)
    except LlmctlError as error:
        yield Symptom("hub", "problem", error.message, error.hint)
        return
    try:
        yield from _hub(database, around)
        yield from _connections(database, around, network)
    finally:
        database.close()


def failure(problems: list[Symptom]) -> LlmctlError | None:
    """Return what to end with: a broken hub weighs more than a missing key."""
    if not problems:
        return None
    text = f"{len(problems)} problem{'' if len(problems) == 1 else 's'} found"
    if any(problem.kind == "storage" for problem in problems):
        return StorageError(text, reason="unwell")
    return ConfigError(text, reason="unwell")


def _sqlite() -> Symptom:
    version = sqlite3.sqlite_version
    if _WAL_RESET[0] <= sqlite3.sqlite_version_info <= _WAL_RESET[1]:
        return Symptom(
            "sqlite",
            "note",
            f"SQLite {version} can, very rarely, damage a hub when two processes tidy its log at the same instant",
            "3.51.3 and later do not; keep a copy: llmctl db backup FILE",
        )
    return Symptom("sqlite", "ok", f"SQLite {version}")


def _hub(database: Database, around: Surroundings) -> Iterator[Symptom]:
    yield Symptom("hub", "ok", f'"{database.path}", schema {migrations.version(database)}')
    for finding in health.check(database, quick=True):
        if finding.problem:
            yield Symptom(finding.name, "problem", finding.problem, finding.hint)
        else:
            yield Symptom(finding.name, "ok")
    yield _outdated(database)
    yield _mode(database.path)
    yield _writable(database.path)
    yield from _waiting(database.path, around)


def _outdated(database: Database) -> Symptom:
    steps = migrations.pending(database)
    if not steps:
        return Symptom("version", "ok")
    return Symptom("version", "problem", f"{len(steps)} migrations are to be done", "do them with: llmctl db migrate")


def _mode(path: str) -> Symptom:
    shared = [
        name
        for name in (path, f"{path}-wal", *backup.beside(path))
        if os.path.exists(name) and stat.S_IMODE(os.stat(name).st_mode) & 0o077
    ]
    if not shared:
        return Symptom("modes", "ok")
    return Symptom(
        "modes", "note", f"others may open {', '.join(shared)}", f"unless that is meant: chmod 600 {' '.join(shared)}"
    )


def _writable(path: str) -> Symptom:
    folder = os.path.dirname(os.path.abspath(path))
    if os.access(path, os.W_OK) and os.access(folder, os.W_OK):
        return Symptom("access", "ok")
    return Symptom("access", "problem", f'you may not write to "{path}" or its folder', "check owner and mode")


def _waiting(path: str, around: Surroundings) -> Iterator[Symptom]:
    for place in write_spool.places(path, around.spool_folder):
        if os.path.exists(place):
            yield Symptom(
                "spool",
                "note",
                f'"{place}" has what an earlier run could not write',
                "the next command that writes takes it in, such as: llmctl job recover",
            )


def _connections(database: Database, around: Surroundings, network: bool) -> Iterator[Symptom]:
    rows = [row for row in connections.listed(database) if row["provider"] != "echo"]
    if not rows:
        yield Symptom("connections", "problem", "no connection to a model", target.THREE_WAYS, "config")
    elif connections.default_name(database) is None:
        yield Symptom(
            "connections",
            "problem",
            "the connection that is used when none is named is gone",
            "choose another with: llmctl connection default NAME",
            "config",
        )
    for row in rows:
        yield _connection(database, row, around, network)


def _connection(database: Database, row: Row, around: Surroundings, network: bool) -> Symptom:
    name = f"connection {row['name']}"
    try:
        found = target.of_connection(database, row["id"], around.env)
        target.access(found, around.env, home=around.home, on_terminal=around.on_terminal)
        note = _key_note(found.key, around)
        if network:
            from llmctl.engine.connections import test  # only where the network is asked

            listing = test.check(database, found, around, keep=False)
            return Symptom(name, "ok", f"{len(listing.models)} models, {listing.duration_ms} ms")
    except LlmctlError as error:
        return Symptom(name, "problem", error.message, error.hint, "config")
    return Symptom(name, "note", note, None, "config") if note else Symptom(name, "ok")


def _key_note(reference: str | None, around: Surroundings) -> str | None:
    if reference is None or not reference.startswith("file:"):  # a command may ask its user something: once is enough
        return None
    return keys.resolve(reference, env=around.env, home=around.home, on_terminal=around.on_terminal).note


def as_record(symptom: Symptom) -> dict[str, Any]:
    """Return a symptom as JSON has it."""
    return {
        "name": symptom.name,
        "status": symptom.status,
        "message": symptom.message or None,
        "hint": symptom.hint,
        "kind": symptom.kind if symptom.status == "problem" else None,
    }
