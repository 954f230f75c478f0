"""Rows that may not come in, whatever they say: a second row of settings, pieces of a stream that is finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmctl.core.transfer_records import Outcome
from llmctl.store.database import Database

if TYPE_CHECKING:
    from llmctl.store.transfer.merge import Merger


def refusal(merger: Merger, table: str, row: Mapping[str, Any]) -> Outcome | None:
    """Return why a row stays out, or None."""
    if table == "user_settings":
        return _settings(merger, row)
    if table == "stream_chunks":
        return _chunk(merger.database, row)
    return None


def settle(database: Database, table: str, row: Mapping[str, Any]) -> None:
    """Do what a row that was brought up to date asks for."""
    if table == "response_streams" and row.get("status") != "pending":
        database.execute("DELETE FROM {stream_chunks} WHERE stream_id = ?", (row["id"],))


def _settings(merger: Merger, row: Mapping[str, Any]) -> Outcome | None:
    """There is one row of settings: another hub's only where nobody has chosen anything here."""
    ours = merger.database.one("SELECT id, created_at = updated_at AS untouched FROM {user_settings}")
    if ours is None or ours["id"] == row.get("id"):
        return None
    if merger.is_fresh and ours["untouched"]:
        merger.database.execute("DELETE FROM {user_settings}")
        return None
    return Outcome("skipped", "user_settings: this hub has settings of its own")


def _chunk(database: Database, row: Mapping[str, Any]) -> Outcome | None:
    sql = "SELECT 1 FROM {response_streams} WHERE id = ? AND status <> 'pending' AND raw_output IS NOT NULL"
    return Outcome("unchanged") if database.value(sql, (row.get("stream_id"),)) else None
