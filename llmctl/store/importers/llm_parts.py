"""llm's content-addressed messages (0.32 and later): chains of hashes, parts with references to fragments and files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from llmctl.core.messages import File


class Parts:
    """The messages of one database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def messages(self, since: str | None, tip: str | None) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return role and parts of the messages after ``since`` up to ``tip``, in order; None is the beginning."""
        found: list[tuple[str, list[dict[str, Any]]]] = []
        seen: set[str] = set()
        at = tip
        while at is not None and at != since and at not in seen:
            seen.add(at)
            row = self._connection.execute("SELECT role, parent_hash FROM messages WHERE hash = ?", (at,)).fetchone()
            if row is None:
                break
            found.append((row["role"], self._parts(at)))
            at = row["parent_hash"]
        return found[::-1]

    def _parts(self, hash: str) -> list[dict[str, Any]]:
        rows = self._connection.execute("SELECT * FROM parts WHERE message_hash = ? ORDER BY position", (hash,))
        return [self._part(row) for row in rows.fetchall()]

    def _part(self, row: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(row["payload"]) if row["payload"] else {}
        found["type"] = row["type"]
        found.setdefault("name", row["tool_name"] or "")
        if row["text"] is not None:
            found["text"] = row["text"]
        if isinstance(found.get("text_ref"), list):
            found["text"] = "".join(map(self._piece, found["text_ref"]))
        named = [found["attachment"]] if found.get("attachment") else found.get("attachments") or []
        found["files"] = [file for one in named if (file := attachment(self._connection, one.get("id")))]
        return found

    def _piece(self, piece: Mapping[str, Any]) -> str:
        if "literal" in piece:
            return str(piece["literal"])
        row = self._connection.execute("SELECT content FROM fragments WHERE id = ?", (piece["fragment"],)).fetchone()
        return row[0] if row else ""


def attachment(connection: sqlite3.Connection, id: str | None) -> File | None:
    """Return a file that llm keeps; one that it only knows the path of is named, not read."""
    row = connection.execute("SELECT type, path, url, content FROM attachments WHERE id = ?", (id,)).fetchone()
    if row is None:
        return None
    name = str(row["path"]).rpartition("/")[2] if row["path"] else None
    return File(row["type"] or "application/octet-stream", row["content"], row["url"], name)
