"""What ``stats`` groups by: the expression of each key over the ledger's rows and over its roll-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import NamedTuple

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.core.registry import unknown
from llmctl.store.database import Database
from llmctl.store.schema.ddl import quoted
from llmctl.store.stats.scope import Unit

TIMES = ("hour", "day", "month")
_LENGTHS = {"hour": 13, "day": 10, "month": 7}

#: The keys that every roll-up has, and those that the one by day does without.
_ALWAYS = {"provider": "r.provider", "model": "r.model"}
_FINER = {name: f"nullif(r.{name}, '')" for name in ("connection", "agent", "tag")} | {"status": "r.status"}
_ROLLED_UP: dict[Unit, dict[str, str]] = {
    "month": {"month": "substr(r.month, 1, 7)", **_ALWAYS, **_FINER},
    "day": {"day": "substr(r.day, 1, 10)", "month": "substr(r.day, 1, 7)", **_ALWAYS},
    "hour": {"hour": "r.hour", "day": "substr(r.hour, 1, 10)", "month": "substr(r.hour, 1, 7)", **_ALWAYS, **_FINER},
}
_ACTIVITY = {"day": "substr(a.day, 1, 10)", "month": "substr(a.day, 1, 7)", "tool": "nullif(a.tool, '')"}
_ROWS = {
    "provider": "lower(r.provider)",
    "model": "coalesce(r.response_model, r.model)",
    "connection": "nullif(r.connection, '')",
    "agent": "nullif(r.agent, '')",
    "tag": "nullif(r.tag, '')",
    "status": "r.status",
    "chat": "r.chat_id",
    "tool": "i.name",
    "script": "r.script",
    "folder": "r.folder",
    "host": "r.host",
}
#: In the order of the documentation.
_KEYS = (
    *TIMES,
    *("provider", "model", "connection", "chat", "agent", "tool", "tag", "status", "script", "folder", "host"),
)


class Grouping(NamedTuple):
    """Keys to group by, and SQL expressions, one for each key: over requests, their roll-ups (the longest unit first;
    without those that cannot tell), messages, tool calls, and the roll-up of both. None: these keys do not tell.
    """

    keys: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    rolled_up: Mapping[Unit, tuple[str, ...]] = {"month": (), "day": (), "hour": ()}
    messages: tuple[str, ...] | None = ()
    calls: tuple[str, ...] | None = ()
    activity: tuple[str, ...] | None = ()


def names(database: Database) -> list[str]:
    """Return every key there is in this hub."""
    custom = [name for table in ("requests", "chats") for name in database.fields.get(table, {})]
    return [*_KEYS, *(name for name in dict.fromkeys(custom) if name not in _KEYS)]


def grouping(database: Database, keys: Sequence[str], zone: tzinfo | None = None) -> Grouping:
    """Return how to group by these keys; with a time zone, hours, days and months are those of its clocks."""
    known = names(database)
    for key in keys:
        if key not in known:
            raise _unknown(key, known)
    if len(set(keys)) < len(keys):
        raise UsageError(f'a key comes twice in "{",".join(keys)}"')
    own = {name: f"r.{quoted(name)}" for name in database.fields.get("requests", {})}
    of_chats = {name: f"c.{quoted(name)}" for name in database.fields.get("chats", {}) if name not in own}
    if zone is not None:
        _teach(database, zone)
    by_message = {key: _time("m.created_at", key, zone) for key in TIMES} | of_chats | {"chat": "m.chat_id"}
    by_call = {key: _time("i.created_at", key, zone) for key in TIMES} | of_chats
    by_call |= {"chat": "t.chat_id", "tool": "i.name"}
    rows = {key: _time("r.created_at", key, zone) for key in TIMES} | own | of_chats | _ROWS
    return Grouping(
        tuple(keys),
        _all(rows, keys) or (),
        _rolled_up(keys, zone),
        _all(by_message, keys),
        _all(by_call, keys),
        _all(_ACTIVITY, keys) if _is_utc(keys, zone) else None,
    )


def _rolled_up(keys: Sequence[str], zone: tzinfo | None) -> Mapping[Unit, tuple[str, ...]]:
    if not _is_utc(keys, zone):
        return {}
    found = {unit: _all(expressions, keys) for unit, expressions in _ROLLED_UP.items()}
    return {unit: expressions for unit, expressions in found.items() if expressions is not None}


def _is_utc(keys: Sequence[str], zone: tzinfo | None) -> bool:
    """Tell whether the roll-ups, which know the clocks of UTC, can be asked."""
    return zone is None or not set(keys) & set(TIMES)


def _unknown(key: str, known: list[str]) -> UsageError:
    error = unknown("key", key, known)
    near = f"{error.hint} " if error.hint and error.hint.startswith("did") else ""
    return UsageError(f'cannot group by "{key}"', hint=f"{near}there are {', '.join(known)}")


def _all(expressions: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...] | None:
    return tuple(expressions[key] for key in keys) if all(key in expressions for key in keys) else None


def _time(column: str, key: str, zone: tzinfo | None) -> str:
    if zone is not None:
        return f"llmctl_local({column}, '{key}')"
    start = f"substr({column}, 1, {_LENGTHS[key]})"
    return f"{start} || ':00:00.000+00:00'" if key == "hour" else start


def _teach(database: Database, zone: tzinfo) -> None:
    """Let SQL ask what a clock in the zone shows."""
    seen: dict[tuple[str, str], str] = {}

    def local(at: str, key: str) -> str:
        # No zone is off by less than a quarter of an hour: the minutes' tens and units suffice.
        start = at[:16], key
        if start not in seen:
            moment = clock.parsed(at).astimezone(zone)
            text = moment.strftime("%Y-%m-%dT%H:00:00.000") + moment.isoformat()[-6:]
            seen[start] = text if key == "hour" else text[: _LENGTHS[key]]
        return seen[start]

    database.connection.create_function("llmctl_local", 2, local, deterministic=True)
