"""What ``stats`` counts and how it is grouped: the scope, and the SQL expression of each group key.

A time range splits into whole months, days and hours, which the roll-ups have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta, tzinfo
from functools import cache
from typing import Literal

from llmctl.core import clock
from llmctl.core.environment import find_repository
from llmctl.core.errors import UsageError
from llmctl.core.registry import unknown_name_error
from llmctl.core.values import Value
from llmctl.store.database import Database, quote

TIMES = ("hour", "day", "month")
_LENGTHS = {"hour": 13, "day": 10, "month": 7}

#: Keys of every roll-up, and keys that the daily one lacks.
_ALWAYS = {"provider": "r.provider", "model": "r.model"}
_FINER = {name: f"nullif(r.{name}, '')" for name in ("connection", "agent", "tag")} | {"status": "r.status"}
_ROLLED_UP: dict[Unit, dict[str, str]] = {
    "month": {"month": "substr(r.month, 1, 7)", **_ALWAYS, **_FINER},
    "day": {"day": "substr(r.day, 1, 10)", "month": "substr(r.day, 1, 7)", **_ALWAYS},
    "hour": {"hour": "r.hour", "day": "substr(r.hour, 1, 10)", "month": "substr(r.hour, 1, 7)", **_ALWAYS, **_FINER},
}
#: Keys that only a roll-up of their own has, one at a time; with days and months.
LABELS = ("tool", "script", "folder")
_LABELLED: dict[Unit, dict[str, str]] = {
    "month": {"month": "substr(r.period, 1, 7)"},
    "day": {"day": "substr(r.period, 1, 10)", "month": "substr(r.period, 1, 7)"},
}
#: In ``hub_meta``: the day from which that roll-up is complete; nothing if it is complete.
LABELS_FROM = "labels_from"
_ACTIVITY = {"day": "substr(a.day, 1, 10)", "month": "substr(a.day, 1, 7)", "tool": "nullif(a.tool, '')"}
_ROWS = {
    "provider": "lower(r.provider)",
    "model": "coalesce(r.response_model, r.model)",
    "connection": "nullif(r.connection, '')",
    "agent": "nullif(r.agent, '')",
    "tag": "nullif(r.tag, '')",
    "status": "r.status",
    "chat": "r.chat_id",
    "tool": "nullif(i.name, '')",
    "script": "nullif(r.script, '')",
    "folder": "nullif(r.folder, '')",
    #: The repository that has the folder today: it may be cloned, moved or made later than the request.
    "project": "llmctl_project(r.folder)",
    "app": "NULL",
    "host": "r.host",
}
#: Columns that hubs of earlier schemas do not have, and what the key is where they do.
_SINCE_SCHEMA_6 = {"project": "coalesce(r.project, llmctl_project(r.folder))", "app": "nullif(r.app, '')"}
#: In the order of the documentation.
KEYS = (
    *TIMES,
    *("provider", "model", "connection", "chat", "agent", "tool", "tag", "status", "script", "folder"),
    *("project", "app", "host"),
)


class Grouping(Value):
    """Group keys and one SQL expression per key, over requests, their roll-ups (longest unit first;
    only those that have all keys), messages, tool calls, and the roll-up of both. None: the keys do not apply.
    """

    keys: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    rolled_up: Mapping[Unit, tuple[str, ...]] = {"month": (), "day": (), "hour": ()}
    messages: tuple[str, ...] | None = ()
    calls: tuple[str, ...] | None = ()
    activity: tuple[str, ...] | None = ()
    #: The key that the roll-up of labels has; None: another roll-up.
    label: str | None = None


def key_names(database: Database) -> list[str]:
    """Return all group keys of this hub."""
    custom = [name for table in ("requests", "chats") for name in database.fields.get(table, {})]
    return [*KEYS, *(name for name in dict.fromkeys(custom) if name not in KEYS)]


def build_grouping(database: Database, keys: Sequence[str], zone: tzinfo | None = None) -> Grouping:
    """Return the grouping by these keys; hours, days and months are those of the time zone, if given."""
    known = key_names(database)
    for key in keys:
        if key not in known:
            raise _unknown_key_error(key, known)
    if len(set(keys)) < len(keys):
        raise UsageError(f'duplicate key in "{",".join(keys)}"')
    own = {name: f"r.{quote(name)}" for name in database.fields.get("requests", {})}
    of_chats = {name: f"c.{quote(name)}" for name in database.fields.get("chats", {}) if name not in own}
    if zone is not None:
        _register_timezone_function(database, zone)
    rows = {key: _time_expression("r.created_at", key, zone) for key in TIMES} | own | of_chats | _ROWS
    if {"project", "app"} & set(keys):
        if any(column["name"] == "project" for column in database.query("PRAGMA table_info({requests})")):
            rows |= _SINCE_SCHEMA_6
        database.connection.create_function("llmctl_project", 1, cache(_find_project), deterministic=True)
    by_message = {key: _time_expression("m.created_at", key, zone) for key in TIMES} | of_chats | {"chat": "m.chat_id"}
    by_call = {key: _time_expression("i.created_at", key, zone) for key in TIMES} | of_chats
    by_call |= {"chat": "t.chat_id", "tool": "nullif(i.name, '')"}
    label = next((key for key in keys if key in LABELS), None)
    return Grouping(
        tuple(keys),
        _pick_all(rows, keys) or (),
        _rollup_expressions(keys, zone, label),
        _pick_all(by_message, keys),
        _pick_all(by_call, keys),
        _pick_all(_ACTIVITY, keys) if _is_utc(keys, zone) else None,
        label,
    )


def _rollup_expressions(keys: Sequence[str], zone: tzinfo | None, label: str | None) -> Mapping[Unit, tuple[str, ...]]:
    if not _is_utc(keys, zone):
        return {}
    sources = _LABELLED if label else _ROLLED_UP
    own = {label: "nullif(r.label, '')"} if label else {}
    result = {unit: _pick_all(expressions | own, keys) for unit, expressions in sources.items()}
    return {unit: expressions for unit, expressions in result.items() if expressions is not None}


def _is_utc(keys: Sequence[str], zone: tzinfo | None) -> bool:
    """Return whether the roll-ups, which are in UTC, can be used."""
    return zone is None or not set(keys) & set(TIMES)


def _unknown_key_error(key: str, known: list[str]) -> UsageError:
    error = unknown_name_error("key", key, known)
    near = f"{error.hint} " if error.hint and error.hint.startswith("did") else ""
    return UsageError(f'cannot group by "{key}"', hint=f"{near}choose one of: {', '.join(known)}")


def _pick_all(expressions: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...] | None:
    return tuple(expressions[key] for key in keys) if all(key in expressions for key in keys) else None


def _time_expression(column: str, key: str, zone: tzinfo | None) -> str:
    if zone is not None:
        return f"llmctl_local({column}, '{key}')"
    start = f"substr({column}, 1, {_LENGTHS[key]})"
    return f"{start} || ':00:00.000+00:00'" if key == "hour" else start


def _find_project(folder: str | None) -> str | None:
    return find_repository(folder) or folder


def _register_timezone_function(database: Database, zone: tzinfo) -> None:
    """Register the SQL function that converts times to a time zone."""
    seen: dict[tuple[str, str], str] = {}

    def local(at: str, key: str) -> str:
        # UTC offsets are multiples of a quarter of an hour, so a prefix down to the minute suffices.
        start = at[:16], key
        if start not in seen:
            moment = clock.parse(at).astimezone(zone)
            text = moment.strftime("%Y-%m-%dT%H:00:00.000") + moment.isoformat()[-6:]
            seen[start] = text if key == "hour" else text[: _LENGTHS[key]]
        return seen[start]

    database.connection.create_function("llmctl_local", 2, local, deterministic=True)


# --- what is counted


Unit = Literal["month", "day", "hour"]

#: Start of a unit: length of the prefix of a time, and the suffix that completes it.
_UNIT_STARTS = {
    "month": (7, "-01T00:00:00.000+00:00"),
    "day": (10, "T00:00:00.000+00:00"),
    "hour": (13, ":00:00.000+00:00"),
}
#: Longer than one unit, shorter than two.
_MORE_THAN = {"month": timedelta(days=32), "day": timedelta(hours=25), "hour": timedelta(minutes=61)}


class Scope(Value):
    """What to count; all conditions that are set must hold. ``since`` is inclusive, ``until`` exclusive.

    Only requests have tags and folders: with one of them, messages and tool calls are unknown. Agents and connections
    are identified by name in the ledger, which outlives them, and by id in chats.
    """

    chat_id: str | None = None
    agent: str | None = None
    agent_id: str | None = None
    connection: str | None = None
    connection_id: str | None = None
    tag: str | None = None
    #: This folder and those below it.
    folder: str | None = None
    since: str | None = None
    until: str | None = None

    def time_conditions(self, time: str) -> list[str]:
        """Return the SQL conditions that limit a column to the time range."""
        return [f"{time} >= :since"] * bool(self.since) + [f"{time} < :until"] * bool(self.until)

    def split(self, units: Sequence[Unit]) -> Iterator[tuple[Unit | None, Scope]]:
        """Split the range into whole units, longest first as in ``units``, and the rest (None)."""
        if not units:
            yield None, self
            return
        unit, finer = units[0], units[1:]
        since = _next_unit_start(self.since, unit) if self.since else None
        until = _unit_start(self.until, unit) if self.until else None
        if since and until and since >= until:
            yield from self.split(finer)
            return
        if since != self.since:
            yield from self.replace(until=since).split(finer)
        yield unit, self.replace(since=since, until=until)
        if until != self.until:
            yield from self.replace(since=until).split(finer)


def _unit_start(time: str, unit: Unit) -> str:
    length, rest = _UNIT_STARTS[unit]
    return time[:length] + rest


def _next_unit_start(time: str, unit: Unit) -> str:
    """Return the first start of a unit at or after a time."""
    start = _unit_start(time, unit)
    return start if start == time else _unit_start(clock.format(clock.parse(start) + _MORE_THAN[unit]), unit)
