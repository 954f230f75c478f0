"""``llmctl init``: create or upgrade the hub, add connections, write a Prisma schema."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal

from llmctl.core.errors import LockedError, UsageError
from llmctl.core.humanize import pluralize
from llmctl.engine.connections import discovery, trust
from llmctl.engine.connections.keys import Env
from llmctl.engine.jobs import lease
from llmctl.providers import PROVIDERS
from llmctl.store import opening
from llmctl.store.adopt.run import AdoptResult, adopt
from llmctl.store.database import Database
from llmctl.store.emit import prisma
from llmctl.store.emit.naming import NamingStyle
from llmctl.store.maintenance.backup import Progress
from llmctl.store.records import connections, jobs, settings
from llmctl.store.schema import custom_names, introspect, migrations, objects

Note = Callable[[str], None]
Found = Sequence[discovery.DiscoveredConnection]


PrismaProvider = Literal["sqlite", "postgresql", "mysql"]


@dataclass(frozen=True, slots=True)
class PrismaOptions:
    """Where to write and for which database; None keeps the previous value, or the default."""

    path: str | None = None
    provider: PrismaProvider | None = None
    major: Literal[6, 7] | None = None


@dataclass(frozen=True, slots=True)
class InitOptions:
    """Options of ``init``. With ``prisma`` None no schema is written.

    ``choose`` gets the connections that were discovered and are new, and returns those to add.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    fields: Sequence[custom_names.CustomField] = ()
    adopt: bool = False
    detect: bool = True
    prisma: PrismaOptions | None = field(default_factory=PrismaOptions)
    choose: Callable[[Found], Found] = list


@dataclass(slots=True)
class InitReport:
    """What ``init`` did: the object of ``init --json``."""

    path: str
    created: bool = False
    adopted: dict[str, Any] | None = None
    migrated: list[str] = field(default_factory=list)
    backup: str | None = None
    tables: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    connections: list[dict[str, Any]] = field(default_factory=list)
    default_connection: str | None = None
    files: list[dict[str, str]] = field(default_factory=list)


def init_hub(
    path: str,
    options: InitOptions,
    env: Env,
    *,
    note: Note = lambda text: None,
    progress: Progress | None = None,
) -> InitReport:
    """Create the hub at ``path`` or bring it up to date. Idempotent: what is done already is not done again."""
    if path == opening.MEMORY:
        raise UsageError("cannot initialize an in-memory hub", hint="name a file with --db")
    options = replace(options, tables=custom_names.to_table_names(options.tables))
    report = InitReport(os.path.abspath(path))
    _create_or_adopt(path, options, report, note, progress)
    database = opening.open_hub(path, "write", upgrade=False)
    try:
        # An adopted database brings no permissions: their tables are new.
        database.is_new = report.created or report.adopted is not None
        trust.identify_hub(database, env)
        _upgrade(database, report, note, progress)
        _apply_names_and_fields(database, options, report, note)
        _add_connections(database, options, env, report, note)
        _report_prisma_files(database, options, report, note)
        if not settings.get(database, "bootstrapped"):
            settings.update(database, "bootstrapped", True)
    finally:
        database.close()
    return report


def require_idle(database: Database, action: str) -> None:
    """Raise LockedError while a turn runs on the hub; ``action`` names what it would disturb."""
    running = jobs.list_running(database, commands=False)
    alive = next((job for job in running if lease.is_alive(job)), None)
    if alive is not None:
        host = str(alive.host).partition("/")[0]
        raise LockedError(
            f'cannot {action} while "{alive.name}" is running (process {alive.pid} on {host})',
            hint=f"wait for it: llmctl job show {alive.id[:8]}",
            reason="busy",
        )


def _create_or_adopt(
    path: str, options: InitOptions, report: InitReport, note: Note, progress: Progress | None
) -> None:
    if options.adopt:
        adopted = adopt(path, options.tables, note=note, progress=progress)
        if adopted is None:
            note(f'"{path}" is already a hub: nothing to adopt')
        else:
            report.adopted, report.backup = asdict(adopted), adopted.backup
            _note_adopted(adopted, note)
    elif not os.path.exists(path) or not os.path.getsize(path):
        custom_names.check_new_names(options.tables)
        report.created = opening.create(path, custom_names.changed_names(options.tables))
        note(f'{"created" if report.created else "found"} hub "{report.path}"')


def _note_adopted(adopted: AdoptResult, note: Note) -> None:
    for table, (before, after) in adopted.rows.items():
        note(f'"{table}": {pluralize(before, "row")} before, {after:,} after')
    for text in adopted.notes:
        note(text)
    for table, columns in adopted.renamed_columns.items():
        note(f'renamed columns of "{table}": {", ".join(f"{old} to {new}" for old, new in columns.items())}')
    if adopted.renamed_columns:
        note(
            "programs that use this database fail until their Prisma client is generated from the new schema:"
            " npx prisma generate"
        )
    if not adopted.rows:
        note("no tables of @node-llm/orm were found: the tables of the hub were added next to the others")
    others = {ours: theirs for ours, theirs in adopted.tables.items() if theirs not in adopted.rows}
    for ours, theirs in others.items():
        note(f'table "{ours}" is named "{theirs}": the name was taken, or you chose it')


def _upgrade(database: Database, report: InitReport, note: Note, progress: Progress | None) -> None:
    if migrations.list_pending(database):
        done = migrations.upgrade(database, note=note, progress=progress)
        report.migrated = [f"{step.version:04d}_{step.name}" for step in done.migrations]
        report.backup = report.backup or done.backup


def _apply_names_and_fields(database: Database, options: InitOptions, report: InitReport, note: Note) -> None:
    if options.tables and report.adopted is None:
        custom_names.check_names(options.tables)
        if any(database.names.get(logical, logical) != name for logical, name in options.tables.items()):
            require_idle(database, "rename tables")
        report.tables = custom_names.rename_tables(database, options.tables)
        for logical, name in report.tables.items():
            note(f'renamed table "{logical}" to "{name}"')
    added = custom_names.add_fields(database, options.fields)
    report.fields = [f"{one.table}.{one.name}" for one in added]
    for one in added:
        note(f'added field "{one.table}.{one.name}" ({one.type}{", indexed" if one.index else ""})')


def rename_and_add_fields(database: Database, names: Mapping[str, str], specs: Sequence[str]) -> None:
    """Rename tables and add fields (``TABLE.NAME:TYPE``) where needed."""
    _apply_names_and_fields(
        database,
        InitOptions(
            tables=custom_names.to_table_names(names), fields=[custom_names.parse_field(spec) for spec in specs]
        ),
        InitReport(database.path),
        _discard_note,
    )


def _discard_note(text: str) -> None:
    """Ignore a note."""


def _add_connections(database: Database, options: InitOptions, env: Env, report: InitReport, note: Note) -> None:
    found = discovery.discover(env) if options.detect else []
    new = [one for one in found if connections.find_by_name(database, one.name) is None]
    refused = {one.name for one in new} - {one.name for one in options.choose(new)} if new else set()
    added = discovery.add_discovered(database, (one for one in found if one.name not in refused), env)
    for one, is_new in added:
        model = f", model {one.model}" if one.model else ""
        if is_new:
            note(f'added connection "{one.name}"{model}: {one.reason}')
        record = {"name": one.name, "provider": one.provider, "model": one.model}
        report.connections.append({**record, "how": one.reason, "new": is_new})
    report.default_connection = discovery.pick_default(database, env)
    if report.default_connection:
        note(f'default connection: "{report.default_connection}"{_describe_keyless(database, report)}')
    else:
        note('no connection yet except "echo", which works offline: llmctl chat -m echo hello')


def _describe_keyless(database: Database, report: InitReport) -> str:
    """Return what it means that the default is a server on this machine; empty for any other."""
    row = connections.find_by_name(database, str(report.default_connection))
    provider = row.provider.lower() if row else ""
    is_local = provider in PROVIDERS.names() and PROVIDERS.load(provider).local
    return ", a server on this machine: no key, no cost, nothing leaves it" if is_local else ""


def _report_prisma_files(database: Database, options: InitOptions, report: InitReport, note: Note) -> None:
    if options.prisma is None:
        return
    is_wanted = options.prisma.path is not None or options.adopt
    for file in write_prisma_files(database, options.prisma, beside_foreign=is_wanted):
        report.files.append({"path": file.path, "state": file.state})
        if file.state == "edited":
            note(
                f'left "{file.path.removesuffix(".new")}" unchanged because it was edited; wrote "{file.path}" instead'
            )
        elif file.state == "left":
            note(f'left "{file.path}" alone: llmctl did not make it; for one of this hub: llmctl schema emit prisma')
        elif file.state != "same":
            note(f'{"wrote" if file.state == "made" else "updated"} "{file.path}"')


# --- ``schema.prisma`` next to the hub: kept up to date, but never if another program or person changed it


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file and what was done.

    ``left``: somebody else made it. ``edited``: it was changed by hand, and the new text is in ``path`` instead.
    """

    path: str
    state: Literal["made", "updated", "same", "left", "edited"]


def write_prisma_files(database: Database, options: PrismaOptions, *, beside_foreign: bool = True) -> list[WrittenFile]:
    """Write the schema, and for Prisma 7 its config; remember paths and hashes in the hub.

    The new text of a file of ours that was changed by hand goes to ``PATH.new``; that of one that somebody else made
    only if ``beside_foreign``.
    """
    stored: Mapping[str, Any] = database.meta("prisma", {})
    # Only an explicit path is remembered: the schema of a hub that moves is found next to it.
    chosen_path = os.path.abspath(options.path) if options.path else stored.get("path")
    path = _schema_path(chosen_path, database.path)
    provider: PrismaProvider = options.provider or stored.get("provider", "sqlite")
    major: Literal[6, 7] = options.major or stored.get("major", 7)
    texts = _emit_files(database, path, provider, major)
    hashes: dict[str, str] = dict(stored.get("hashes", {}))
    written = [_write_if_ours(name, text, hashes, beside_foreign) for name, text in texts.items()]
    state = {"path": chosen_path, "provider": provider, "major": major, "hashes": hashes}
    if state != stored:
        with database.transaction():
            objects.set_meta(database.connection, "prisma", state)
    return written


def list_prisma_files(database: Database) -> list[str]:
    """Return the paths of the files written for this hub."""
    stored: Mapping[str, Any] = database.meta("prisma", {})
    return list(stored.get("hashes", {}))


def _schema_path(wanted: str | None, hub: str) -> str:
    path = wanted or os.path.join(os.path.dirname(os.path.abspath(hub)), "schema.prisma")
    return os.path.join(path, "schema.prisma") if os.path.isdir(path) else path


def _emit_files(database: Database, path: str, provider: PrismaProvider, major: Literal[6, 7]) -> dict[str, str]:
    catalogue = introspect.describe_hub(database)
    url = f"file:{os.path.abspath(database.path)}" if provider == "sqlite" else None
    dress: NamingStyle = "application" if database.meta("adopted", {}).get("tables") else "hub"
    texts = {path: prisma.emit(catalogue, database.names, dress=dress, provider=provider, major=major, url=url)}
    if major == 7:
        config = os.path.join(os.path.dirname(path), "prisma.config.ts")
        texts[config] = prisma.emit_config(catalogue, url=url, provider=provider, schema=os.path.basename(path))
    return texts


def _write_if_ours(path: str, text: str, hashes: dict[str, str], beside_foreign: bool) -> WrittenFile:
    new, present = _hash(text.encode()), _read(path)
    if present is not None and _hash(present) == new:
        hashes[path] = new
        return WrittenFile(path, "same")
    if present is not None and _hash(present) != hashes.get(path):
        if path not in hashes and not beside_foreign:
            return WrittenFile(path, "left")
        _replace_file(f"{path}.new", text)
        return WrittenFile(f"{path}.new", "edited")
    _replace_file(path, text)
    hashes[path] = new
    return WrittenFile(path, "made" if present is None else "updated")


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f'cannot read "{path}": {(error.strerror or "").lower()}') from error


def _replace_file(path: str, text: str) -> None:
    draft = f"{path}.{os.getpid()}.tmp"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise UsageError(
            f'cannot write "{path}": {(error.strerror or "").lower()}', hint="choose another path with --prisma"
        ) from error


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
