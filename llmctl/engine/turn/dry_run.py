"""What a turn would send, without sending or writing anything."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmctl.core.errors import ConfigError
from llmctl.core.http import Endpoint
from llmctl.engine.chats import attachments
from llmctl.engine.connections.target import Access, access
from llmctl.engine.turn import history
from llmctl.engine.turn.plan import Plan, request_of, require_talk
from llmctl.engine.turn.redaction import Redaction
from llmctl.store.database import Database
from llmctl.store.records import threads
from llmctl.wire import WIRES


@dataclass(frozen=True, slots=True)
class Preview:
    """A request without its secrets."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


def preview(database: Database, plan: Plan) -> Preview:
    """Build the first request of a turn and strike out its secrets; a missing key is no error here."""
    require_talk(plan.target)
    allowed = _access(plan)
    thread = threads.of_chat(database, plan.chat["id"]) if plan.chat else None
    provider = plan.target.provider.name
    entries = history.load(database, thread["id"], provider=provider) if thread else []
    spoken = attachments.ready(plan.ask, plan.target, None).spoken()
    system = [message for message in spoken if message.role == "system"][-1:]
    if system:
        entries = [entry for entry in entries if entry.message.role != "system"]
    entries = [
        *(history.Entry(0, message) for message in system if message.text),
        *entries,
        *(history.Entry(0, message) for message in spoken if message.role != "system"),
    ]
    if plan.manner.history is not None:
        entries, _ = history.last_turns(entries, plan.manner.history)
    history.require_prompt(entries)
    request = request_of(plan, entries)
    http = WIRES.load(plan.target.wire).build_request(allowed.endpoint, request)
    redact = Redaction(allowed.secrets)
    return Preview(
        http.method,
        redact.url(http.url),
        redact.headers(http.headers),
        redact.request_text(http.body.decode("utf-8", "replace")),
    )


def _access(plan: Plan) -> Access:
    try:
        return access(plan.target, plan.around.env, home=plan.around.home)
    except ConfigError:
        target = replace(plan.target, key=None)
        endpoint = Endpoint(target.base_url, dict(target.provider.headers), target.query, target.provider.dialect)
        return Access(endpoint, ())
