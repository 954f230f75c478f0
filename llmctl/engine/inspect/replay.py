"""Rebuild a past request, and send it again: a new row in ``requests``, no change to the chat it came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from llmctl.core.chat import ChatRequest, Message, ToolSpec
from llmctl.core.errors import NotFoundError, PendingError
from llmctl.core.http import Endpoint
from llmctl.core.options import TurnOptions
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.billing.cost import cost_limits
from llmctl.engine.chats import attachments
from llmctl.engine.connections import target
from llmctl.engine.runtime import CallerInfo, RuntimeEnv, Toolset, TurnEvent
from llmctl.engine.tools import toolset
from llmctl.engine.turn import history, records
from llmctl.engine.turn.plan import TurnPlan, UserInput
from llmctl.engine.turn.state import TurnResult
from llmctl.engine.turn.turn import Turn
from llmctl.providers import PROVIDERS, Provider
from llmctl.store.database import Database, Row, Update
from llmctl.store.records import chats, requests
from llmctl.store.records.chats import AttachedFile
from llmctl.store.records.settings import list_changed
from llmctl.store.records.types import MessageRow, RequestRow
from llmctl.wire import WIRES


class Replay:
    """A request sent again. ``result`` is complete after :meth:`events` has run."""

    def __init__(
        self,
        database: Database,
        request: RequestRow,
        caller: CallerInfo,
        runtime: RuntimeEnv,
        *,
        model: str | None = None,
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        original = rebuild_chat_request(database, request)
        self._database = database
        self._original_id: str = request.id
        self._turn = Turn(
            database,
            TurnPlan(
                chat=None,
                target=_pick_target(database, request, model, runtime),
                input=UserInput(messages=original.messages),
                options=TurnOptions(
                    options=original.options,
                    thinking=original.thinking,
                    show_thinking=original.shows_thinking,
                    schema=original.schema,
                    no_stream=not original.stream,
                    max_steps=1,
                    tag=request.tag,
                ),
                log=False,
                cost_limits=cost_limits(list_changed(database)),
                caller=caller,
                runtime=runtime,
                tools=_current_tools(database, request),
            ),
            on_commit=on_commit,
        )

    @property
    def result(self) -> TurnResult:
        return self._turn.result

    def events(self) -> Iterator[TurnEvent]:
        """Yield the events of the turn; however it ends, the new request refers to the one it repeats."""
        try:
            with self._turn:
                yield from self._turn.events()
        except PendingError as error:
            error.hint = "a replay runs no tools; --json shows what the model would call"
            raise
        finally:
            if self.result.request_id:
                refs = dumps({"replay_of": self._original_id})
                self._database.commit(Update("requests", self.result.request_id, {"refs": refs}))


def _current_tools(database: Database, request: RequestRow) -> Toolset:
    """Return the tools that were sent, as they are now; raise NotFoundError if one was deleted."""
    names = stored_parameters(request).get("tools") or ()
    return Toolset(toolset.resolve_grants(database, dict.fromkeys(names, "user-permitted")))


def _pick_target(database: Database, request: RequestRow, model: str | None, runtime: RuntimeEnv) -> target.Target:
    """Return the target: ``model``, or the original one. Only the options of the original request apply."""
    if model is not None:
        found = target.resolve(database, model, runtime.env)
    elif request.connection:
        found = _connection_target(database, request, runtime)
    else:
        found = target.resolve(database, f"{request.provider}:{request.model}", runtime.env)
    return found.replace(options={})


def _connection_target(database: Database, request: RequestRow, runtime: RuntimeEnv) -> target.Target:
    try:
        found = target.for_connection(database, str(request.connection), runtime.env)
    except NotFoundError:
        found = target.resolve(database, f"{request.provider}:{request.model}", runtime.env)
    return target.with_model(found, request.model)


# --- a past request as it was sent, from the rows it was made of


@dataclass(frozen=True, slots=True)
class RebuiltRequest:
    """A request without its secrets. ``differs`` is True if its body is not byte for byte what was sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    differs: bool


def rebuild_request(database: Database, request: RequestRow) -> RebuiltRequest:
    """Return the HTTP request of a row of ``requests``; raise NotFoundError if its text was not stored."""
    calls = requests.list_attempts(database, request.id)
    first = calls[0] if calls else None
    if first is None:
        raise NotFoundError("the request was never sent, or its HTTP attempts were not stored")
    body = _rebuild_body(database, request, first)
    differs = sha256(body).hexdigest() != first["body_hash"]
    return RebuiltRequest(first["method"], first["endpoint"], first["request_headers"], body, differs)


def rebuild_chat_request(database: Database, request: RequestRow) -> ChatRequest:
    """Return the chat request with the messages that were sent; raise NotFoundError if they no longer exist."""
    parameters = loads(request.parameters, {})
    if parameters.get("messages_changed"):
        raise NotFoundError("the messages of the request are not in the hub", hint="a before_request hook changed them")
    return ChatRequest(
        model=request.model,
        messages=_sent_messages(database, request, parameters.get("seqs") or []),
        stream=parameters.get("stream", True),
        options=parameters.get("options") or {},
        thinking=parameters.get("thinking"),
        shows_thinking=parameters.get("shows_thinking", False),
        schema=parameters.get("schema"),
        tools=tuple(_tool_specs(database, parameters.get("tools") or ())),
    )


def _tool_specs(database: Database, names: Iterable[str]) -> Iterator[ToolSpec]:
    """Yield the tools as they are now, except deleted ones."""
    for name in names:
        with suppress(NotFoundError):
            yield from Toolset(toolset.resolve_grants(database, {name: "automatic"}, writable=False)).specs()


def provider_for(request: RequestRow) -> Provider:
    """Return the provider that a request went to; for an unknown one, the generic compatible provider."""
    name = str(request.provider).lower()
    return PROVIDERS.load(name if name in PROVIDERS else "compatible")


def _rebuild_body(database: Database, request: RequestRow, attempt: Row) -> bytes:
    """Return the body: the stored one if it is complete, else rebuilt."""
    stored = (attempt["body"] or "").encode()
    if sha256(stored).hexdigest() == attempt["body_hash"]:
        return stored
    try:
        chat_request = rebuild_chat_request(database, request)
    except NotFoundError:
        if stored and not attempt["omitted_messages"]:
            return stored
        raise
    provider = provider_for(request)
    stream = requests.find_request_stream(database, request.id)
    format = loads(stream["format"], {}) if stream else {}
    wire = WIRES.load(format.get("wire", provider.wire))
    endpoint = Endpoint(provider.base_url, dialect=provider.dialect)
    messages = attachments.drop_unsupported_files_for(chat_request.messages, wire, provider.dialect)[0]
    whole = wire.build_request(endpoint, chat_request.replace(messages=messages)).body
    if not stored or sha256(whole).hexdigest() == attempt["body_hash"]:
        return whole
    rest = tuple(map(records.without_file_content, messages[attempt["omitted_messages"] or 0 :]))
    return _merge_bodies(stored, wire.build_request(endpoint, chat_request.replace(messages=rest)).body, whole)


def _merge_bodies(stored: bytes, rest: bytes, whole: bytes) -> bytes:
    """Return the stored body completed with what is in other rows. Only it has the tools as they were.

    ``rest`` and ``whole`` are rebuilt the same way; ``rest`` lacks what was left out of the stored body.
    """
    try:
        found, partly, all = json.loads(stored), json.loads(rest), json.loads(whole)
    except ValueError:
        return whole
    names, before = list(found), -1
    for name in all:
        if name not in found:
            names.insert(before + 1, name)
        before = names.index(name)
    missing = {name: value for name, value in all.items() if partly.get(name) != value}
    return dumps({name: missing.get(name, found.get(name)) for name in names}).encode("utf-8", "replace")


def _sent_messages(database: Database, request: RequestRow, seqs: list[list[int]]) -> tuple[Message, ...]:
    seqs_sent = [seq for first, last in seqs for seq in range(first, last + 1)]
    thread_id = request.thread_id or ""  # no messages if the thread was deleted
    rows = chats.list_thread_messages(database, thread_id, upto_seq=max(seqs_sent)) if seqs_sent else []
    known = {row.seq: row for row in rows}
    if not seqs_sent or any(seq not in known for seq in seqs_sent if seq != history.INSTRUCTIONS_SEQ):
        raise NotFoundError("the messages of the request are not in the hub", hint="they were deleted or never stored")
    sent: dict[int, list[Message]] = {}
    reader = history.Origin(str(request.provider), request.model)
    for entry in history.load_history(database, thread_id, upto_seq=max(seqs_sent), reader=reader):
        sent.setdefault(entry.seq, []).append(entry.message)
    files = chats.attachments_by_message(database, thread_id)
    # A partial answer that was requested again has left the history since.
    return tuple(
        message
        for seq in seqs_sent
        for message in sent.get(seq) or ([_load_message(known[seq], files)] if seq in known else [])
    )


def _load_message(row: MessageRow, files: Mapping[str, list[AttachedFile]]) -> Message:
    return chats.to_message(row, files.get(row.id, ()))


def stored_parameters(request: RequestRow) -> dict[str, Any]:
    """Return the parameters of a request besides its messages."""
    found: dict[str, Any] = loads(request.parameters, {})
    return found
