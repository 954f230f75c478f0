"""The rows that a turn begins with: chat, job, attachments."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Protocol

from llmctl.core.ids import new_id
from llmctl.core.messages import File
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.chats.attachments import SOURCE
from llmctl.engine.jobs import lease
from llmctl.engine.turn.options import Origin
from llmctl.engine.turn.plan import Plan
from llmctl.engine.turn.redaction import Redaction
from llmctl.store.database import Database, Row
from llmctl.store.records import jobs
from llmctl.store.writes import Insert, Update, Write


class Place(Protocol):
    """The ids that a job works on."""

    chat_id: str
    thread_id: str
    job_id: str


def chat_row(chat_id: str, plan: Plan, redact: Redaction, now: str) -> dict[str, Any]:
    """Return a new chat: what later turns keep of this one stands in ``settings``."""
    keep, target = plan.keep, plan.target
    settings: dict[str, Any] = {"without": sorted(keep.without), "provider": target.provider.name}
    if plan.party is None:  # of an agent the definition counts, as it is in each turn
        settings |= {
            "options": _kept_options({**target.alias_options, **plan.manner.options}, redact),
            "thinking": plan.manner.thinking,
            "tools": plan.tools.kept(),
        }
    return {
        "id": chat_id,
        "name": keep.name,
        "type": "agent" if plan.party else "chatModel",
        "source_id": plan.party.id if plan.party else target.connection_id,
        "model": target.model,
        "provider": target.provider.nodellm_id,
        "instructions": plan.ask.instructions,
        "metadata": dumps(dict(keep.metadata)) if keep.metadata and not plan.party else None,
        "refs": dumps(dict(keep.references)),
        "settings": dumps({name: value for name, value in settings.items() if value}),
        "origin": "llmctl",
        **keep.fields,
        **_last_turn(plan.origin, now),
        **times(now),
    }


def chat_changes(chat: Row, plan: Plan, now: str) -> dict[str, Any]:
    """Return what a turn changes of its chat."""
    keep = plan.keep
    changes: dict[str, Any] = {**keep.fields, **_last_turn(plan.origin, now), "updated_at": now}
    if plan.ask.instructions is not None:
        changes["instructions"] = plan.ask.instructions
    if plan.party:  # another one may have taken the session over
        changes["source_id"] = plan.party.id
    if keep.metadata and not plan.party:
        changes["metadata"] = dumps({**loads(chat["metadata"], {}), **keep.metadata})
    if keep.references:
        changes["refs"] = dumps({**loads(chat["refs"], {}), **keep.references})
    return changes


def session_writes(plan: Plan, chat_id: str, session: Row | None, now: str) -> list[Write]:
    """Return what a turn keeps of its agent's session: what it knows, and the definition it ran with."""
    party = plan.party
    if party is None:
        return []
    definition = dumps(dict(party.definition))
    if session is None:
        metadata = dumps(dict(party.metadata)) if party.metadata else None
        row = {"id": party.session_id, "agent_class": party.name, "chat_id": chat_id, "metadata": metadata}
        return [Insert("agent_sessions", {**row, "definition": definition, **times(now)})]
    changes = {"agent_class": party.name, "definition": definition, "updated_at": now}
    if plan.keep.metadata:  # on top of what it is by now
        changes["metadata"] = dumps({**loads(session["metadata"], {}), **plan.keep.metadata})
    return [Update("agent_sessions", session["id"], changes)]


def job_row(database: Database, place: Place, plan: Plan, now: str) -> dict[str, Any]:
    """Return the running job of a turn, held by this process."""
    payload: dict[str, Any] = {"chat_id": place.chat_id, "thread_id": place.thread_id}
    if plan.keep.rollback:
        payload["rollback"] = True
    if plan.keep.without:
        payload["without"] = sorted(plan.keep.without)
    return {
        "id": place.job_id,
        "name": plan.keep.name or "chat",
        "type": "turn",
        "status": "running",
        "payload": dumps(payload),
        "parent_id": plan.parent_job_id or jobs.known(database, plan.around.env.get(lease.JOB_VARIABLE)),
        **lease.current()._asdict(),
        "lease_expires_at": lease.lease(),
        "started_at": now,
        **times(now),
    }


def file_writes(database: Database | None, message_id: str, files: list[File], now: str) -> list[Write]:
    """Return the rows of a message's files; content that the hub has already is linked, not stored again."""
    writes: list[Write] = []
    seen: dict[str, str] = {}
    for position, file in enumerate(files):
        content_hash = sha256(file.data if file.data is not None else (file.url or "").encode()).hexdigest()
        known = seen.get(content_hash) or (
            database.value("SELECT id FROM {attachments} WHERE content_hash = ?", (content_hash,)) if database else None
        )
        attachment_id = known or new_id()
        seen[content_hash] = attachment_id
        if known is None:
            writes.append(Insert("attachments", _attachment_row(attachment_id, file, content_hash, now)))
        link = {"id": new_id(), "message_id": message_id, "attachment_id": attachment_id, "position": position}
        own = {"name": file.name, "media_type": file.media_type}
        writes.append(Insert("message_attachments", link | own | times(now)))
    return writes


def times(now: str) -> dict[str, str]:
    return {"created_at": now, "updated_at": now}


def _kept_options(options: Any, redact: Redaction) -> dict[str, Any]:
    """Leave out what was taken back, and what holds a secret: it serves this turn and is not written down."""
    texts = {name: dumps({name: value}) for name, value in options.items() if value is not None}
    return {name: options[name] for name, text in texts.items() if redact.request_text(text) == text}


def _last_turn(origin: Origin, now: str) -> dict[str, Any]:
    return {
        "last_turn_at": now,
        "last_turn_folder": origin.folder,
        "last_turn_terminal": int(origin.terminal),
    }


def _attachment_row(attachment_id: str, file: File, content_hash: str, now: str) -> dict[str, Any]:
    return {
        "id": attachment_id,
        "name": file.name,
        "media_type": file.media_type,
        "content_hash": content_hash,
        "content": file.data,
        "url": file.url or file.metadata.get(SOURCE),
        "size": len(file.data or b""),
        **times(now),
    }
