"""Tables under names of the user's own: on a new hub and on one that is in use."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from llmctl.core.errors import UsageError
from llmctl.store.database import Database
from llmctl.store.schema import ddl, objects


def check_names(wanted: Mapping[str, str]) -> None:
    """Raise UsageError for a table we do not have, or a name that SQLite or this schema cannot give one."""
    for logical, physical in wanted.items():
        if logical not in ddl.TABLES:
            raise UsageError(f'no table "{logical}"', hint=f"there are {', '.join(sorted(ddl.TABLES))}")
        if not physical.strip() or not physical.isprintable():
            raise UsageError(f'table "{logical}" cannot be called "{physical}"', hint="give it a printable name")
        if physical.lower().startswith(("sqlite_", "llmctl_probe")):
            raise UsageError(f'table "{logical}" cannot be called "{physical}": the name is reserved by SQLite')


def full(names: Mapping[str, str]) -> dict[str, str]:
    """Return the physical name of every table."""
    return {logical: names.get(logical, logical) for logical in (*ddl.TABLES, *ddl.FIXED)}


def differing(names: Mapping[str, str]) -> dict[str, str]:
    """Return only those names that are not the logical ones, as the hub keeps them."""
    return {logical: physical for logical, physical in names.items() if physical != logical}


def check_new(wanted: Mapping[str, str]) -> None:
    """Check names for a hub that is to be made: known, allowed, and each given once."""
    check_names(wanted)
    names = full(wanted)
    _refuse_taken(names, {name.lower(): "name of llmctl's own" for name in objects.own_names(ddl.statements())})


def rename(database: Database, wanted: Mapping[str, str]) -> dict[str, str]:
    """Give tables other names; return the new name of each that changed.

    One transaction: the tables are renamed, then views, triggers and search index dropped and made anew through the
    one mapping. (In this order SQLite carries over what users built on them.) Raises UsageError for bad or taken
    names, StorageError for a broken view of the user's.
    """
    check_names(wanted)
    with database.transaction(durable=True):
        database.forget_names()  # under the lock: another process may have renamed some
        before = full(database.names)
        after = {**before, **wanted}
        changed = {logical: after[logical] for logical in after if after[logical] != before[logical]}
        if changed:
            connection = database.connection
            _refuse_taken(after, _others(connection, set(before.values())))
            objects.refuse_broken(connection)
            _rename_all(connection, [(before[logical], physical) for logical, physical in changed.items()])
            objects.remember(connection, "tables", differing(after))
            objects.renew_code(connection)
    database.forget_names()
    return changed


def _rename_all(connection: sqlite3.Connection, pairs: list[tuple[str, str]]) -> None:
    """Rename in two steps, so that names may be exchanged and may differ in case only."""
    for number, (old, _) in enumerate(pairs):
        connection.execute(f"ALTER TABLE {ddl.quoted(old)} RENAME TO llmctl_renamed_{number}")
    for number, (_, new) in enumerate(pairs):
        connection.execute(f"ALTER TABLE llmctl_renamed_{number} RENAME TO {ddl.quoted(new)}")


def _others(connection: sqlite3.Connection, ours: set[str]) -> dict[str, str]:
    """Return what else has a name in this file: lower-case name -> kind."""
    rows = connection.execute("SELECT name, type FROM sqlite_master")
    return {name.lower(): kind for name, kind in rows if name not in ours}


def _refuse_taken(names: Mapping[str, str], taken: Mapping[str, str]) -> None:
    """Raise UsageError where two tables would have one name, or something else has it. SQLite ignores case."""
    seen: dict[str, str] = {}
    for logical, physical in names.items():
        key = physical.lower()
        other = seen.setdefault(key, logical)
        if other != logical:
            raise UsageError(f'tables "{other}" and "{logical}" cannot both be called "{physical}"')
        if key in taken:
            raise UsageError(
                f'table "{logical}" cannot be called "{physical}": the name is taken ({taken[key]})',
                hint="choose another name",
            )
