"""Build the request that a turn would send, without sending or writing anything."""

from __future__ import annotations

from dataclasses import dataclass

from llmctl.core.errors import ConfigError
from llmctl.core.http import Endpoint
from llmctl.core.redaction import Redaction
from llmctl.engine.chats import attachments
from llmctl.engine.connections.target import ResolvedEndpoint, resolve_endpoint
from llmctl.engine.turn import history
from llmctl.engine.turn.plan import TurnPlan, build_chat_request, list_option_secrets, require_chat_model
from llmctl.store.database import Database
from llmctl.store.records import chats
from llmctl.wire import WIRES


@dataclass(frozen=True, slots=True)
class RequestPreview:
    """A request without its secrets."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


def preview_request(database: Database, plan: TurnPlan) -> RequestPreview:
    """Build the first request of a turn and mask its secrets; missing trust or a missing key is not an error here."""
    require_chat_model(plan.target)
    resolved = _resolve_endpoint(database, plan)
    thread = chats.find_thread(database, plan.chat.id) if plan.chat else None
    reader = history.Origin.from_target(plan.target)
    is_followed = not plan.input.is_resume
    entries = history.load_history(database, thread.id, reader=reader, is_followed=is_followed) if thread else []
    files = attachments.prepare_files(plan.input.files, plan.target, None)
    new_messages = plan.input.replace(files=files).to_messages()
    system = [message for message in new_messages if message.role == "system"][-1:]
    if system:
        entries = [entry for entry in entries if entry.message.role != "system"]
    entries = [
        *(history.HistoryEntry(0, message) for message in system if message.text),
        *entries,
        *(history.HistoryEntry(0, message) for message in new_messages if message.role != "system"),
    ]
    if plan.options.history is not None:
        entries, _ = history.last_turns(entries, plan.options.history)
    history.require_prompt(entries)
    messages, _ = attachments.drop_unsupported_files((entry.message for entry in entries), plan.target)
    request = build_chat_request(plan, messages)
    http = WIRES.load(plan.target.wire).build_request(resolved.endpoint, request)
    redact = Redaction((*resolved.secrets, *list_option_secrets(plan)))
    return RequestPreview(
        http.method,
        redact.url(http.url),
        redact.headers(http.headers),
        redact.request_text(http.body.decode("utf-8", "replace")),
    )


def _resolve_endpoint(database: Database, plan: TurnPlan) -> ResolvedEndpoint:
    try:
        return resolve_endpoint(database, plan.target, plan.runtime.replace(confirm=None))
    except ConfigError:
        target = plan.target.replace(key=None)
        endpoint = Endpoint(target.base_url, dict(target.provider.headers), target.query, target.provider.dialect)
        return ResolvedEndpoint(endpoint, ())
