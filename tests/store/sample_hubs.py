"""Sample hubs: plain, with odd table names, with columns and tables of the user's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing

from llmctl.core.stored_values import loads
from llmctl.store import opening
from llmctl.store.schema import introspect
from llmctl.store.schema.introspect import Catalogue

#: A space, reserved words, upper case, another table's name, a quote, letters beyond ASCII, what NodeLLM calls it.
ODD_NAMES = {
    "chats": "My Chats",
    "messages": "order",
    "requests": "REQUESTS",
    "jobs": "select",
    "agents": "chats",
    "tools": "chat's",
    "metrics": "größe",
    "tool_invocations": "LlmToolCall",
}

#: Added as a user would: beside our own, under names that relations and models have too.
USER_SQL = """
ALTER TABLE "My Chats" ADD COLUMN user_id TEXT;
ALTER TABLE "My Chats" ADD COLUMN "tenantId" INTEGER;
ALTER TABLE "My Chats" ADD COLUMN messages TEXT;
ALTER TABLE "My Chats" ADD COLUMN "größe" REAL;
ALTER TABLE "My Chats" ADD COLUMN paid BOOLEAN NOT NULL DEFAULT 0;
ALTER TABLE "order" ADD COLUMN chat TEXT;
ALTER TABLE "order" ADD COLUMN "2nd key" JSONB;
ALTER TABLE "order" ADD COLUMN seen DATETIME;
CREATE INDEX my_user ON "My Chats" (user_id DESC);
CREATE TABLE "Class" (a TEXT, b UUID);
CREATE TABLE jobs (id TEXT NOT NULL PRIMARY KEY);
CREATE TABLE _prisma_migrations (id TEXT NOT NULL PRIMARY KEY);
CREATE TABLE "Message" (id INTEGER PRIMARY KEY, b INT, c TEXT UNIQUE, message_id TEXT REFERENCES "order" (id));
CREATE VIEW mine AS SELECT user_id FROM "My Chats";
"""


def make_hub(path: str, names: Mapping[str, str] | None = None, more: str = "") -> str:
    """Make a hub at a path, run more SQL in it, and return the path."""
    opening.build_file(path, names or {})
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(more)
    return path


def read_catalog(path: str) -> tuple[Catalogue, dict[str, str]]:
    """Return a hub's catalogue, with comments, and its names."""
    with closing(sqlite3.connect(path)) as connection:
        names = loads(connection.execute("SELECT value FROM hub_meta WHERE key = 'tables'").fetchone()[0])
        return introspect.add_schema_comments(introspect.read_catalogue(connection), names), names
