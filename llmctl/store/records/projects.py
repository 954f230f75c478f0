"""The chats of a project: those that were last used in its folders, or whose requests came from there."""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.store.database import Database, Row

#: Tag of requests whose chats are shown to no other program.
PRIVATE_TAG = "private"

_BELOW = "({column} = :root OR substr({column}, 1, length(:root) + 1) = :root || '/')"
_IN_PROJECT = f"""
(:root IS NULL OR {_BELOW.format(column="c.last_turn_folder")} OR EXISTS (
  SELECT 1 FROM {{requests}} r WHERE r.chat_id = c.id AND {_BELOW.format(column="r.folder")}))
AND NOT EXISTS (SELECT 1 FROM {{requests}} p WHERE p.chat_id = c.id AND p.tag = :private)
AND c.superseded_by IS NULL
"""


def is_in_project(database: Database, chat_id: str, root: str | None) -> bool:
    """Return whether a chat belongs to the project at ``root`` (None: any) and is not private."""
    sql = f"SELECT 1 FROM {{chats}} c WHERE c.id = :id AND {_IN_PROJECT}"
    return database.value(sql, {"id": chat_id, "root": root, "private": PRIVATE_TAG}) is not None


def list_newest(database: Database, root: str | None, limit: int) -> Iterator[Row]:
    """Yield id and name of the newest chats of a project."""
    sql = f"""
    SELECT c.id, c.name FROM {{chats}} c WHERE {_IN_PROJECT}
    ORDER BY coalesce(c.last_turn_at, c.created_at) DESC LIMIT :limit
    """
    return database.rows(sql, {"root": root, "private": PRIVATE_TAG, "limit": limit})
