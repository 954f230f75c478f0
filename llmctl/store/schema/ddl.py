"""The files of ``schema/``: where they are, and their statements under a hub's own table names."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping

#: The schema these files describe; a hub keeps its own in ``PRAGMA user_version``.
VERSION = 2
#: "llmc": marks a file as a hub for ``file(1)`` and for us.
APPLICATION_ID = 0x6C6C6D63

#: Tables that are asked for before a hub's own names are known.
FIXED = ("hub_meta", "schema_migrations")

#: Every table that a hub may rename, by its name in ``schema/``.
TABLES = (
    *("user_settings", "metrics", "text_logs", "jobs"),
    *("model_connections", "model_prices", "model_aliases"),
    *("tools", "agents", "agent_tool_connections"),
    *("chats", "message_threads", "messages", "rendered_conversation_threads"),
    *("attachments", "message_attachments", "agent_sessions", "tool_invocations", "permission_rules"),
    *("requests", "network_calls", "response_streams", "stream_chunks"),
    *("usage_hourly", "usage_daily", "usage_monthly", "activity_daily"),
)

#: Sums of the ledger, by the unit of time they are kept by; triggers keep them.
ROLL_UPS = {"hour": "usage_hourly", "day": "usage_daily", "month": "usage_monthly"}
#: Tables that only triggers write.
KEPT = (*ROLL_UPS.values(), "activity_daily")

_QUOTED = re.compile(r'"([a-z_]+)"')
_SLOT = re.compile(r"\{([a-z_]+)\}")


def folder() -> str:
    """Return the folder of the schema files: inside an installed package, or beside it in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    installed = os.path.join(package, "_schema")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "schema")


def files(root: str | None = None) -> list[str]:
    """Return the paths of the files that make a fresh hub, in order."""
    root = root or folder()
    return [os.path.join(root, name) for name in sorted(os.listdir(root)) if name.endswith(".sql")]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def exchanged(sql: str, names: Mapping[str, str]) -> str:
    """Return SQL of ``schema/`` with the quoted table names replaced by a hub's own."""
    return _QUOTED.sub(lambda match: quoted(names.get(match[1], match[1])), sql)


def filled(sql: str, names: Mapping[str, str]) -> str:
    """Return SQL of the program with its ``{table}`` slots filled by a hub's own names."""
    return _SLOT.sub(lambda match: quoted(names.get(match[1], match[1])), sql)


def statements(names: Mapping[str, str] | None = None, root: str | None = None) -> list[str]:
    """Return every statement of ``schema/`` (or another such folder), in order, under the given table names."""
    return [statement for path in files(root) for statement in split(exchanged(_text(path), names or {}))]


def split(script: str) -> Iterator[str]:
    """Cut a script into statements; comments stay with the statement below them."""
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        if line.rstrip().endswith(";") and sqlite3.complete_statement("\n".join(lines)):
            yield "\n".join(lines).strip()
            lines.clear()


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
