"""Find a row by REF: full id, exact name, or prefix of an id, in this order."""

from __future__ import annotations

from llmctl.core.errors import NotFoundError
from llmctl.store.database import Database, Row

#: Shorter prefixes of an id are not looked up, as in git.
MIN_PREFIX_LENGTH = 4
_UUID = "00000000-0000-0000-0000-000000000000"

#: Commands that list a kind.
_LIST_COMMANDS = {
    "chat": "chats list",
    "alias": "model alias list",
    "session": "agent sessions",
    "invocation": "tool invocations",
    **{kind: f"{kind} list" for kind in ("connection", "agent", "tool", "request", "job", "message", "thread", "log")},
}
#: Tables whose rows have a unique name.
_TABLES_WITH_NAMES = ("chats", "model_connections", "agents", "tools", "model_aliases")


def get(database: Database, table: str, ref: str, *, kind: str) -> Row:
    """Return the row for ``ref``; raise NotFoundError for none, or with the candidates for several."""
    row = find(database, table, ref, kind=kind)
    if row is None:
        raise NotFoundError(f'no {kind} "{ref}"', hint=_suggest_names(database, table, ref, kind))
    return row


def find(database: Database, table: str, ref: str, *, kind: str) -> Row | None:
    """Return the row for ``ref``, or None; raise NotFoundError for several candidates."""
    row = database.one(f"SELECT * FROM {{{table}}} WHERE id = ?", (ref,))
    if row is None and table in _TABLES_WITH_NAMES:
        row = database.one(f"SELECT * FROM {{{table}}} WHERE name = ?", (ref,))
    return row or _find_by_prefix(database, table, ref, kind)


def is_id_prefix(ref: str) -> bool:
    """Return whether a REF may be the leading part of one of our ids, which are UUIDs: a date is none."""
    if not MIN_PREFIX_LENGTH <= len(ref) <= len(_UUID):
        return False
    return all(
        one in ("-" if place == "-" else "0123456789abcdef") for one, place in zip(ref.lower(), _UUID, strict=False)
    )


def _find_by_prefix(database: Database, table: str, ref: str, kind: str) -> Row | None:
    prefix = ref.lower()
    if len(prefix) < MIN_PREFIX_LENGTH or not set(prefix) <= set("0123456789abcdef-"):
        return None
    # A range instead of LIKE uses the primary key's index. "g" sorts after every hexadecimal digit.
    rows = database.query(
        f"SELECT * FROM {{{table}}} WHERE id >= ? AND id < ? ORDER BY id LIMIT 6", (prefix, prefix + "g")
    )
    if len(rows) > 1:
        names = ", ".join(f"{row['id'][:13]}{_name_suffix(row)}" for row in rows[:5])
        raise NotFoundError(
            f'"{ref}" is a prefix of more than one {kind}',
            hint=f"candidates: {names}" + (", …" if len(rows) > 5 else ""),
            reason="ambiguous",
        )
    return rows[0] if rows else None


def _name_suffix(row: Row) -> str:
    return f' "{row["name"]}"' if row.get("name") else ""


def _suggest_names(database: Database, table: str, ref: str, kind: str) -> str | None:
    see = f"see: llmctl {_LIST_COMMANDS[kind]}" if kind in _LIST_COMMANDS else None
    if table not in _TABLES_WITH_NAMES:
        return see
    from difflib import get_close_matches  # an error path

    names = [row["name"] for row in database.query(f"SELECT name FROM {{{table}}} WHERE name IS NOT NULL LIMIT 2000")]
    near = get_close_matches(ref, names, n=3)
    return f"did you mean {', '.join(near)}?" if near else see
