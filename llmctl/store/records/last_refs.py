"""What the REF ``last`` refers to, other than a chat: the newest record made in the same place as this run."""

from __future__ import annotations

from typing import Literal

from llmctl.core.errors import NotFoundError
from llmctl.store.database import Database
from llmctl.store.records.chats import Place

LastKind = Literal["request", "job", "session", "invocation"]

#: A chat belongs to the place of its last turn, like in ``chat -c``.
_CHAT_IS_HERE = "(c.last_turn_terminal = :terminal AND (:terminal OR c.last_turn_folder IS :folder))"

#: Newest first, with whether each is from here.
_NEWEST: dict[LastKind, str] = {
    # A request outside of a chat has a folder alone.
    "request": f"""
SELECT r.id, CASE WHEN c.last_turn_at IS NULL THEN r.folder IS :folder ELSE {_CHAT_IS_HERE} END AS is_here
FROM {{requests}} r LEFT JOIN {{chats}} c ON c.id = r.chat_id
WHERE r.origin = 'llmctl' ORDER BY r.created_at DESC, r.rowid DESC""",
    # Those that a turn or a command started are part of it.
    "job": f"""
SELECT j.id, CASE
  WHEN c.id IS NOT NULL THEN {_CHAT_IS_HERE}
  WHEN j.payload ->> 'folder' IS NOT NULL THEN j.payload ->> 'folder' = :folder
  ELSE EXISTS (SELECT 1 FROM {{requests}} r WHERE r.job_id = j.id AND r.folder IS :folder) END AS is_here
FROM {{jobs}} j LEFT JOIN {{chats}} c ON c.id = j.payload ->> 'chat_id'
WHERE j.parent_id IS NULL ORDER BY j.created_at DESC, j.rowid DESC""",
    # A sub-agent's session has the id of the call that it answers.
    "session": f"""
SELECT s.id, {_CHAT_IS_HERE} AS is_here FROM {{agent_sessions}} s JOIN {{chats}} c ON c.id = s.chat_id
WHERE c.last_turn_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {{tool_invocations}} i WHERE i.id = s.id)
ORDER BY c.last_turn_at DESC""",
    # A person's own call belongs to no chat.
    "invocation": f"""
SELECT i.id, i.message_id IS NULL OR {_CHAT_IS_HERE} AS is_here FROM {{tool_invocations}} i
LEFT JOIN {{messages}} m ON m.id = i.message_id LEFT JOIN {{message_threads}} t ON t.id = m.thread_id
LEFT JOIN {{chats}} c ON c.id = t.chat_id
WHERE i.origin = 'llmctl' ORDER BY i.created_at DESC, i.rowid DESC""",
}


def get_last_id(database: Database, kind: LastKind, place: Place) -> str:
    """Return the id of the newest record from a place; raise NotFoundError that names the newest from elsewhere."""
    values = {"terminal": int(place.terminal), "folder": place.folder}
    here = database.value(f"SELECT id FROM ({_NEWEST[kind]}) WHERE is_here LIMIT 1", values)
    if here is not None:
        return str(here)
    other = database.value(f"SELECT id FROM ({_NEWEST[kind]}) LIMIT 1", values)
    raise NotFoundError(
        f"no {kind} {place.describe()}", hint=f"the newest one from elsewhere is {other[:8]}" if other else None
    )
