"""A request of the ledger as it was sent: its body put together again from the rows it was made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from llmctl.core.chat import ChatRequest, ToolSpec
from llmctl.core.errors import NotFoundError
from llmctl.core.http import Endpoint
from llmctl.core.messages import Message
from llmctl.core.stored_json import dumps, loads
from llmctl.engine.chats import attachments
from llmctl.engine.tools import toolset
from llmctl.engine.turn import bodies, history
from llmctl.providers import PROVIDERS, Provider
from llmctl.store.database import Database, Row
from llmctl.store.records import requests, streams, threads
from llmctl.wire import WIRES


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A request without its secrets. ``differs`` is True where its body is not, byte for byte, what was sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    differs: bool


def rebuild(database: Database, request: Row) -> Rebuilt:
    """Return the HTTP request of a request; raise NotFoundError where its text was not kept."""
    calls = requests.network_calls(database, request["id"])
    first = calls[0] if calls else None
    if first is None:
        raise NotFoundError("the request was never sent, or its HTTP attempts were not kept")
    body = _body(database, request, first)
    differs = sha256(body).hexdigest() != first["body_hash"]
    return Rebuilt(first["method"], first["endpoint"], first["request_headers"], body, differs)


def chat_request(database: Database, request: Row) -> ChatRequest:
    """Return what was asked, from the messages that were sent; raise NotFoundError where they are gone."""
    parameters = loads(request["parameters"], {})
    return ChatRequest(
        model=request["model"],
        messages=_messages(database, request, parameters.get("seqs") or []),
        stream=parameters.get("stream", True),
        options=parameters.get("options") or {},
        thinking=parameters.get("thinking"),
        shows_thinking=parameters.get("shows_thinking", False),
        schema=parameters.get("schema"),
        tools=tuple(_specs(database, parameters.get("tools") or ())),
    )


def _specs(database: Database, names: Iterable[str]) -> Iterator[ToolSpec]:
    """Yield the tools as they are now, without those that are gone."""
    for name in names:
        with suppress(NotFoundError):
            yield from toolset.Tools(toolset.resolve(database, {name: "automatic"}, writable=False)).specs()


def provider_of(request: Row) -> Provider:
    """Return the provider that a request went to, or what stands for those that nobody here knows."""
    name = str(request["provider"]).lower()
    return PROVIDERS.load(name if name in PROVIDERS else "compatible")


def _body(database: Database, request: Row, call: Row) -> bytes:
    """Return the body: as it was kept where that is the whole of it, else built again."""
    kept = (call["body"] or "").encode()
    if sha256(kept).hexdigest() == call["body_hash"]:
        return kept
    try:
        asked = chat_request(database, request)
    except NotFoundError:
        if kept and not call["omitted_messages"]:
            return kept
        raise
    provider = provider_of(request)
    stream = streams.of_request(database, request["id"])
    format = loads(stream["format"], {}) if stream else {}
    wire = WIRES.load(format.get("wire", provider.wire))
    endpoint = Endpoint(provider.base_url, dialect=provider.dialect)
    messages = attachments.fit_for(asked.messages, wire, provider.dialect)[0]
    whole = wire.build_request(endpoint, replace(asked, messages=messages)).body
    if not kept or sha256(whole).hexdigest() == call["body_hash"]:
        return whole
    rest = tuple(map(bodies.without_files, messages[call["omitted_messages"] or 0 :]))
    return _completed(kept, wire.build_request(endpoint, replace(asked, messages=rest)).body, whole)


def _completed(kept: bytes, rest: bytes, whole: bytes) -> bytes:
    """Put what stands in other rows into the body that was kept, which alone has the tools as they were.

    ``rest`` and ``whole`` are built alike, ``rest`` without what was left out of ``kept``.
    """
    try:
        found, partly, all = json.loads(kept), json.loads(rest), json.loads(whole)
    except ValueError:
        return whole
    names, before = list(found), -1
    for name in all:
        if name not in found:
            names.insert(before + 1, name)
        before = names.index(name)
    missing = {name: value for name, value in all.items() if partly.get(name) != value}
    return dumps({name: missing.get(name, found.get(name)) for name in names}).encode("utf-8", "replace")


def _messages(database: Database, request: Row, seqs: list[list[int]]) -> tuple[Message, ...]:
    places = [seq for first, last in seqs for seq in range(first, last + 1)]
    rows = threads.messages(database, request["thread_id"], upto_seq=max(places)) if places else []
    known = {row["seq"]: row for row in rows}
    if not places or any(place not in known for place in places):
        raise NotFoundError("the messages of the request are not in the hub", hint="they were deleted, or not kept")
    loaded = history.load(database, request["thread_id"], upto_seq=max(places), provider=request["provider"])
    sent = {entry.seq: entry.message for entry in loaded}
    files = threads.attachments(database, request["thread_id"])
    # A partial answer that was asked for again has left the history since.
    return tuple(sent.get(place) or _alone(known[place], files) for place in places)


def _alone(row: Row, files: Mapping[str, list[Row]]) -> Message:
    return history.message_of(row, files.get(row["id"], ()))


def parameters_of(request: Row) -> dict[str, Any]:
    """Return what was asked beside the messages."""
    found: dict[str, Any] = loads(request["parameters"], {})
    return found
