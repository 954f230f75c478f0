"""REF: full id, exact name, or the leading part of an id, in this order."""

from __future__ import annotations

from llmctl.core.errors import NotFoundError
from llmctl.store.database import Database, Row

#: Fewer characters of an id are not looked up, as in git.
SHORTEST_PREFIX = 4

#: Tables whose rows have a unique name.
#: Which command lists a kind, where it is not of that name.
_LISTED = {"chat": "chats", "alias": "model alias"}
_NAMED = ("chats", "model_connections", "agents", "tools", "model_aliases")


def get(database: Database, table: str, ref: str, *, kind: str) -> Row:
    """Return the one row that ``ref`` means; raise NotFoundError for none, or with the candidates for many."""
    row = find(database, table, ref, kind=kind)
    if row is None:
        raise NotFoundError(f'no {kind} "{ref}"', hint=_nearest(database, table, ref, kind))
    return row


def find(database: Database, table: str, ref: str, *, kind: str) -> Row | None:
    """Return the row that ``ref`` means, or None; several candidates are an error."""
    row = database.one(f"SELECT * FROM {{{table}}} WHERE id = ?", (ref,))
    if row is None and table in _NAMED:
        row = database.one(f"SELECT * FROM {{{table}}} WHERE name = ?", (ref,))
    return row or _by_prefix(database, table, ref, kind)


def _by_prefix(database: Database, table: str, ref: str, kind: str) -> Row | None:
    prefix = ref.lower()
    if len(prefix) < SHORTEST_PREFIX or not set(prefix) <= set("0123456789abcdef-"):
        return None
    # A range instead of LIKE: it uses the primary key's index. "g" comes after every hexadecimal digit.
    found = database.query(
        f"SELECT * FROM {{{table}}} WHERE id >= ? AND id < ? ORDER BY id LIMIT 6", (prefix, prefix + "g")
    )
    if len(found) > 1:
        names = ", ".join(f"{row['id'][:13]}{_named(row)}" for row in found[:5])
        raise NotFoundError(
            f'"{ref}" is the beginning of more than one {kind}',
            hint=f"candidates: {names}" + (", …" if len(found) > 5 else ""),
            reason="ambiguous",
        )
    return found[0] if found else None


def _named(row: Row) -> str:
    return f' "{row["name"]}"' if row.get("name") else ""


def _nearest(database: Database, table: str, ref: str, kind: str) -> str | None:
    if table not in _NAMED:
        return None
    from difflib import get_close_matches  # an error path

    names = [row["name"] for row in database.query(f"SELECT name FROM {{{table}}} WHERE name IS NOT NULL LIMIT 2000")]
    near = get_close_matches(ref, names, n=3)
    return f"did you mean {', '.join(near)}?" if near else f"see: llmctl {_LISTED.get(kind, kind)} list"
