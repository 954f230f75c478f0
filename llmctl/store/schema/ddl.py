"""The files of ``schema/`` and their statements, with a hub's table names filled in."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping

from llmctl.store.database import quote

#: Version of the schema in these files; a hub stores its own in ``PRAGMA user_version``.
VERSION = 6
#: "llmc": marks a file as a hub, for ``file(1)`` too.
APPLICATION_ID = 0x6C6C6D63

#: Tables that are read before a hub's table names are known.
FIXED_TABLES = ("hub_meta", "schema_migrations")

#: Tables that a hub can rename, by their names in ``schema/``.
TABLES = (
    *("user_settings", "metrics", "text_logs", "jobs"),
    *("model_connections", "model_prices", "model_aliases"),
    *("tools", "agents", "agent_tool_connections"),
    *("chats", "message_threads", "messages", "rendered_conversation_threads"),
    *("attachments", "message_attachments", "agent_sessions", "tool_invocations", "permission_rules"),
    *("requests", "bodies", "network_calls", "response_streams", "stream_chunks"),
    *("proxy_apps", "provider_batches", "map_items"),
    *("usage_hourly", "usage_daily", "usage_monthly", "usage_labels", "activity_daily"),
)

#: Totals of the ledger by unit of time; maintained by triggers.
ROLLUP_TABLES = {"hour": "usage_hourly", "day": "usage_daily", "month": "usage_monthly"}
#: Tables that only triggers write.
DERIVED_TABLES = (*ROLLUP_TABLES.values(), "usage_labels", "activity_daily")

# A string: compiled when a hub is created, not at start-up.
_QUOTED = r'"([a-z_]+)"'


def schema_folder() -> str:
    """Return the folder of the schema files: in the installed package, or next to it in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    installed = os.path.join(package, "_schema")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "schema")


def schema_files(root: str | None = None) -> list[str]:
    """Return the paths of the files that create a new hub, in order."""
    root = root or schema_folder()
    return [os.path.join(root, name) for name in sorted(os.listdir(root)) if name.endswith(".sql")]


def rename_tables(sql: str, names: Mapping[str, str]) -> str:
    """Return SQL of ``schema/`` with the quoted table names replaced by a hub's names."""
    return re.sub(_QUOTED, lambda match: quote(names.get(match[1], match[1])), sql)


def load_statements(names: Mapping[str, str] | None = None, root: str | None = None) -> list[str]:
    """Return every statement of ``schema/`` or another such folder in order, with these table names."""
    return [
        statement
        for path in schema_files(root)
        for statement in split_statements(rename_tables(_read_text(path), names or {}))
    ]


def split_statements(script: str) -> Iterator[str]:
    """Split a script into statements; comments stay with the statement below them."""
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        if line.rstrip().endswith(";") and sqlite3.complete_statement("\n".join(lines)):
            yield "\n".join(lines).strip()
            lines.clear()


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
