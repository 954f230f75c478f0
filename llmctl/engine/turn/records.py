"""Every row of a turn: its chat, job, messages, requests, attempts and streams as columns, without secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol

from llmctl.core import clock
from llmctl.core.chat import SOURCE_URL_KEY, ChatResponse, File, Message, Part, Text, Thinking, Usage, parts_to_json
from llmctl.core.errors import LlmctlError
from llmctl.core.http import HttpRequest
from llmctl.core.options import TurnOptions
from llmctl.core.redaction import REDACTED, Redaction, is_secret_name
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.engine.connections.target import Target
from llmctl.engine.jobs import lease
from llmctl.engine.runtime import CallerInfo
from llmctl.engine.turn import history
from llmctl.engine.turn.plan import TurnPlan
from llmctl.engine.turn.state import Attempt, CallEnd, CallState, StepRequest, TurnIds
from llmctl.store.database import Database, Delete, Insert, Update, Write
from llmctl.store.records import chats
from llmctl.store.records.types import ChatRow, SessionRow

Columns = dict[str, Any]

_MESSAGE_TYPES = {"assistant": "chatModel", "tool": "toolCall"}
_MESSAGE_STATUS = {"completed": "completed", "interrupted": "interrupted"}

#: Columns of a message that may repeat a secret which the server sent back.
_TEXT_COLUMNS = ("content", "content_raw", "thinking_text", "metadata")

#: Response headers in which providers name the call, most specific first.
_REQUEST_ID_HEADERS = (
    *("x-request-id", "request-id", "x-generation-id", "x-ds-trace-id", "mistral-correlation-id"),
    *("apim-request-id", "x-amzn-requestid", "x-debug-trace-id", "cf-ray"),
)

#: Columns of the ledger that lead to text.
_LINK_COLUMNS = ("chat_id", "thread_id", "message_id", "session_id", "parameters")


class RequestSource(Protocol):
    """What a request is made for: the plan of a turn, or that of single requests."""

    @property
    def target(self) -> Target: ...
    @property
    def options(self) -> TurnOptions: ...
    @property
    def caller(self) -> CallerInfo: ...


def timestamps(now: str) -> dict[str, str]:
    return {"created_at": now, "updated_at": now}


# --- A turn begins: chat, session, job, messages.


def chat_row(chat_id: str, plan: TurnPlan, redact: Redaction, now: str) -> Columns:
    """Return a new chat; ``settings`` holds what later turns take over from this one."""
    options, target = plan.options, plan.target
    settings: dict[str, Any] = {"without": sorted(options.no_persist), "provider": target.provider.name}
    if plan.agent is None:  # an agent's definition counts as it is at each turn
        settings |= {
            "options": _storable_options({**target.alias_options, **options.options}, redact),
            "thinking": options.thinking,
            "tools": plan.tools.stored_permissions(),
        }
    return {
        "id": chat_id,
        "name": plan.name,
        "type": "agent" if plan.agent else "chatModel",
        "source_id": plan.agent.id if plan.agent else target.connection_id,
        "model": target.model,
        "provider": target.provider.nodellm_id,
        "instructions": plan.input.instructions,
        "metadata": dumps(dict(options.metadata)) if options.metadata and not plan.agent else None,
        "refs": dumps(dict(options.references)),
        "settings": dump_chat_settings(settings),
        "origin": "llmctl",
        **options.fields,
        **_last_turn_columns(plan.caller, now),
        **timestamps(now),
    }


def dump_chat_settings(settings: Mapping[str, Any]) -> str:
    """Return what a chat keeps for its turns, without what is not set; a thinking budget of 0 is."""
    return dumps({name: value for name, value in settings.items() if value or value == 0})


def chat_changes(chat: ChatRow, plan: TurnPlan, now: str) -> Columns:
    """Return what a turn changes of its chat."""
    options = plan.options
    changes: dict[str, Any] = {**options.fields, **_last_turn_columns(plan.caller, now), "updated_at": now}
    if plan.input.instructions is not None:
        changes["instructions"] = plan.input.instructions
    if plan.agent:  # another agent may have taken over the session
        changes |= {"type": "agent", "source_id": plan.agent.id}
    if options.metadata and not plan.agent:
        changes["metadata"] = dumps({**loads(chat.metadata, {}), **options.metadata})
    if options.references:
        changes["refs"] = dumps({**loads(chat.refs, {}), **options.references})
    if chat.superseded_by:  # a branch that the user goes back to
        changes["superseded_by"] = None
    return changes


def session_writes(plan: TurnPlan, chat_id: str, session: SessionRow | None, now: str) -> list[Write]:
    """Return what a turn stores of its agent's session: its metadata, and the definition it runs with."""
    agent = plan.agent
    if agent is None:
        return []
    definition = dumps(dict(agent.definition))
    if session is None:
        metadata = dumps(dict(agent.metadata)) if agent.metadata else None
        row = {"id": agent.session_id, "agent_class": agent.name, "chat_id": chat_id, "metadata": metadata}
        return [Insert("agent_sessions", {**row, "definition": definition, **timestamps(now)})]
    changes = {"agent_class": agent.name, "definition": definition, "updated_at": now}
    if plan.options.metadata:  # merged into what it is by now
        changes["metadata"] = dumps({**loads(session.metadata, {}), **plan.options.metadata})
    return [Update("agent_sessions", session.id, changes)]


def job_row(database: Database, ids: TurnIds, plan: TurnPlan, now: str) -> Columns:
    """Return the running job of a turn, held by this process."""
    payload: dict[str, Any] = {"chat_id": ids.chat_id, "thread_id": ids.thread_id}
    if plan.options.rollback:
        payload["rollback"] = True
    if plan.options.no_persist:
        payload["without"] = sorted(plan.options.no_persist)
    return _running_job_row(ids.job_id, plan.name or "chat", "turn", now) | {
        "payload": dumps(payload),
        "parent_id": plan.parent_job_id or _find_calling_job(database, plan.runtime.env.get(lease.JOB_VARIABLE)),
    }


def _find_calling_job(database: Database, job_id: str | None) -> str | None:
    """Return the job of the command that started this process, if there is one and the hub has it."""
    if job_id is None:
        return None
    from llmctl.store.records import jobs

    return jobs.existing_id(database, job_id)


def command_job_row(job_id: str, name: str, now: str) -> Columns:
    """Return the running job of a command that sends single requests, held by this process."""
    return _running_job_row(job_id, name, "command", now)


def _running_job_row(job_id: str, name: str, type: str, now: str) -> Columns:
    return {
        "id": job_id,
        "name": name,
        "type": type,
        "status": "running",
        **lease.process_identity().to_dict(),
        "lease_expires_at": lease.lease_expiry(),
        "started_at": now,
        **timestamps(now),
    }


def message_writes(
    ids: TurnIds, message: Message, database: Database | None = None, source_id: str | None = None
) -> list[Write]:
    """Return the rows of a message that is complete already."""
    seq, now = ids.advance()
    files = [part for part in message.parts if isinstance(part, File)]
    message_id = new_id()
    row = {
        "id": message_id,
        "thread_id": ids.thread_id,
        "seq": seq,
        "chat_id": None if message.role == "tool" or message.tool_calls else ids.chat_id or None,
        "role": message.role,
        "type": _MESSAGE_TYPES.get(message.role, message.role),
        "source_id": source_id,
        "status": "completed",
        "content": message.stored_text,
        "content_raw": _raw_parts(message),
        "metadata": dumps(dict(message.metadata)) if message.metadata else None,
        "job_id": ids.job_id,
        "origin": "llmctl",
        **timestamps(now),
    }
    return [Insert("messages", row), *_file_writes(database, message_id, files, now)]


def correction_writes(correction: Message, answer_id: str | None, ids: TurnIds) -> list[Write]:
    """Return the rows of an answer that is sent back: neither it nor its correction is part of the chat."""
    detached = (
        [] if answer_id is None else [Update("messages", answer_id, {"chat_id": None, "updated_at": clock.now()})]
    )
    return detached + [
        write.replace(row={**write.row, "chat_id": None})
        if isinstance(write, Insert) and write.table == "messages"
        else write
        for write in message_writes(ids, correction)
    ]


def _storable_options(options: Mapping[str, Any], redact: Redaction) -> dict[str, Any]:
    """Leave out options that are null, and those with a secret: they serve this turn and are not stored."""
    texts = {name: dumps({name: value}) for name, value in options.items() if value is not None}
    return {
        name: options[name]
        for name, text in texts.items()
        if redact.request_text(text) == text and not is_secret_name(name)
    }


def _last_turn_columns(caller: CallerInfo, now: str) -> Columns:
    return {
        "last_turn_at": now,
        "last_turn_folder": caller.folder,
        "last_turn_terminal": int(caller.terminal),
    }


def _file_writes(database: Database | None, message_id: str, files: list[File], now: str) -> list[Write]:
    """Return the rows of a message's files; content that the hub has already is linked, not stored again."""
    writes: list[Write] = []
    seen: dict[str, str] = {}
    for position, file in enumerate(files):
        content_hash = sha256(file.data if file.data is not None else (file.url or "").encode()).hexdigest()
        existing_id = seen.get(content_hash) or (chats.find_attachment_id(database, content_hash) if database else None)
        attachment_id = existing_id or new_id()
        seen[content_hash] = attachment_id
        if existing_id is None:
            writes.append(Insert("attachments", _attachment_row(attachment_id, file, content_hash, now)))
        link = {"id": new_id(), "message_id": message_id, "attachment_id": attachment_id, "position": position}
        # An empty name: this message has none, whatever another one calls the same content.
        own = {"name": file.name or "", "media_type": file.media_type}
        writes.append(Insert("message_attachments", link | own | timestamps(now)))
    return writes


def _attachment_row(attachment_id: str, file: File, content_hash: str, now: str) -> Columns:
    return {
        "id": attachment_id,
        "name": file.name,
        "media_type": file.media_type,
        "content_hash": content_hash,
        "content": file.data,
        "url": file.url or file.metadata.get(SOURCE_URL_KEY),
        "size": len(file.data or b""),
        **timestamps(now),
    }


# --- A call to a model begins: placeholder, request, stream, attempts.


def call_writes(plan: TurnPlan, ids: TurnIds, state: CallState, step: StepRequest, redact: Redaction) -> list[Write]:
    """Return placeholder, request and stream of a call that begins."""
    target, request = plan.target, step.request
    message = {
        "id": state.message_id,
        "thread_id": ids.thread_id,
        "seq": state.seq,
        "role": "assistant",
        "type": "agent" if plan.agent else "chatModel",
        "source_id": plan.agent.id if plan.agent else target.connection_id,
        "model_id": request.model,
        "provider": target.provider.name,
        "status": "pending",
        "job_id": ids.job_id,
        "origin": "llmctl",
        **timestamps(ids.last_time),
    }
    format: dict[str, Any] = {"wire": target.wire, "provider": target.provider.name, "stream": request.stream}
    if state.renamed_tools:
        format["tools"] = dict(state.renamed_tools)
    stream = {
        "id": state.stream_id,
        "message_id": state.message_id,
        "request_id": state.request_id,
        "source_id": target.connection_id,
        "format": dumps(format),
        "status": "pending",
        **timestamps(ids.last_time),
    }
    return [
        Insert("messages", message),
        Insert("requests", _chat_request_row(plan, ids, state, step, redact)),
        *([] if state.is_cached else [Insert("response_streams", stream)]),
    ]


def body_write(source: RequestSource, state: CallState, body: bytes, now: str) -> Write:
    """Return what stores the whole answer of a single request, so that equal requests can use it."""
    target = source.target
    row = {
        "id": state.stream_id,
        "request_id": state.request_id,
        "source_id": target.connection_id,
        "format": dumps({"wire": target.wire, "provider": target.provider.name, "stream": False}),
        "status": "completed",
        "raw_output": body.decode("utf-8", "replace"),
        "last_flushed_at": now,
        **timestamps(now),
    }
    return Insert("response_streams", row)


def request_row(
    source: RequestSource, ids: TurnIds, state: CallState, parameters: Mapping[str, Any], redact: Redaction
) -> Columns:
    """Return a request of the ledger that begins."""
    target, caller = source.target, source.caller
    return {
        "id": state.request_id,
        "job_id": ids.job_id,
        "status": "pending",
        "origin": "llmctl",
        "provider": target.provider.name,
        "model": target.model,
        "connection": target.connection,
        "tag": source.options.tag,
        "parameters": redact.request_text(dumps(parameters)),
        "script": caller.script,
        "folder": caller.folder if caller.ledger_folder else None,
        "git_commit": caller.git_commit,
        "host": caller.host,
        **(state.reservation.to_columns() if state.reservation else {}),
        **state.cache_columns,
        **timestamps(ids.last_time),
    }


def _chat_request_row(plan: TurnPlan, ids: TurnIds, state: CallState, step: StepRequest, redact: Redaction) -> Columns:
    request = step.request
    return request_row(plan, ids, state, _chat_parameters(step, state), redact) | {
        "chat_id": ids.chat_id or None,
        "thread_id": ids.thread_id,
        "message_id": state.message_id,
        "model": request.model,
        **_agent_columns(plan),
        "step": step.number,
        "correction_rounds": None if request.schema is None else history.count_corrections(request.messages),
    }


def _chat_parameters(step: StepRequest, state: CallState) -> dict[str, Any]:
    request = step.request
    return {
        "options": dict(request.options),
        "thinking": request.thinking,
        **({"shows_thinking": True} if request.shows_thinking else {}),
        "stream": request.stream,
        **({} if request.schema is None else {"schema": dict(request.schema)}),
        **({"tools": [tool.name for tool in request.tools]} if request.tools else {}),
        "seqs": history.to_ranges(entry.seq for entry in step.entries),
        **({"messages_changed": True} if step.is_changed else {}),
        **({"bound": state.reservation.estimate.token_counts()} if state.reservation else {}),
        **({"cache_miss": state.cache_miss} if state.cache_miss else {}),
    }


def _agent_columns(plan: TurnPlan) -> Columns:
    agent = plan.agent
    if agent is None:
        return {}
    session_id = agent.session_id if plan.log or agent.is_resumed else None
    return {"agent": agent.name, "agent_version": agent.version, "session_id": session_id}


def attempt_row(attempt: Attempt, http: HttpRequest, redact: Redaction) -> Columns:
    """Return an HTTP attempt that begins, without its body and what it belongs to."""
    return {
        "id": attempt.id,
        "status": "pending",
        "attempt": attempt.number,
        "endpoint": redact.url(http.url),
        "method": http.method,
        "body_hash": sha256(http.body).hexdigest(),
        "request_headers": dumps(redact.headers(http.headers)),
        **timestamps(clock.now()),
    }


def count_sent_messages(messages: Sequence[Message]) -> int:
    """Return how many messages the previous call carried: all before the last answer, and that answer."""
    answers = [index for index, message in enumerate(messages) if message.role == "assistant"]
    return answers[-1] + 1 if answers else 0


def has_file_content(message: Message) -> bool:
    return any(isinstance(part, File) and part.data for part in message.parts)


def without_file_content(message: Message) -> Message:
    """Leave out the content of files: it is stored in ``attachments``."""
    parts = tuple(part.replace(data=b"") if isinstance(part, File) and part.data else part for part in message.parts)
    return message.replace(parts=parts)


# --- A call ends: answer, usage, stream, attempt.


def answer_columns(
    end: CallEnd, chat_id: str | None, redact: Redaction, origin: history.Origin | None = None
) -> Columns:
    """Return the answer of a call as columns of its message; ``origin`` is the model that was called."""
    columns = message_columns(end.response, origin) | {
        "status": _MESSAGE_STATUS.get(end.status, "incomplete"),
        "chat_id": (chat_id or None) if _ends_turn(end.response.message, end.status) else None,
        "error": _error_text(end.error, redact),
    }
    return columns | {name: redact.text(columns[name]) for name in _TEXT_COLUMNS if columns[name]}


def request_end_columns(state: CallState, end: CallEnd, redact: Redaction) -> Columns:
    """Return the end of a call as columns of its request."""
    response, error = end.response, end.error
    return {
        "status": end.status,
        "status_code": state.status_code,
        "duration": clock.elapsed_ms(state.started),
        "time_to_first_token": state.time_to_first_token_ms,
        "response_model": response.model,
        "response_id": response.response_id,
        "finish_reason": response.finish_reason,
        "error_code": error.code if error else None,
        "error_reason": error.reason if error else None,
        "error": _error_text(error, redact),
        **usage_columns(response.usage),
        **end.cost_columns,
        # Text that lacks a secret is not what the model answered.
        **({"cache_key": None} if state.cache_columns and (state.redactions or state.has_redacted_field) else {}),
    }


def stream_end_columns(state: CallState, end: CallEnd, redact: Redaction) -> Columns:
    """Return what a call received as columns of its stream."""
    return {
        "status": end.status,
        "raw_output": _raw_output(state, redact),
        "timeline": dumps(join_arrivals(state.timeline)),
        "result_messages": result_messages(end, state.message_id, redact),
        "last_flushed_at": clock.now(),
    }


def join_arrivals(timeline: Sequence[list[int]]) -> list[list[int]]:
    """Return a timeline without what came in the same millisecond as the bytes before it."""
    pairs = zip([None, *timeline], timeline, strict=False)
    return [entry for before, entry in pairs if before is None or before[1] != entry[1]]


def result_messages(end: CallEnd, message_id: str | None, redact: Redaction) -> str:
    """Return the messages of a stream as JSON; with their ids where they are stored."""
    message = end.response.message
    if not message.parts:
        return "[]"
    id = {"id": message_id} if end.keeps_message and message_id else {}
    calls = [
        {"id": call.id, "name": call.name, "arguments": redact.text(call.arguments)} for call in message.tool_calls
    ]
    return dumps(
        [
            {
                **id,
                "type": "chatModel",
                "content": redact.text(message.text),
                **({"thinking": redact.text(message.thinking)} if message.thinking else {}),
                **({"tool_calls": calls} if calls else {}),
            }
        ]
    )


def attempt_end_columns(attempt: Attempt, error: BaseException | None, redact: Redaction) -> Columns:
    """Return the end of an attempt as columns of its row."""
    message = error.message if isinstance(error, LlmctlError) else "interrupted" if error else None
    return {
        "status": "error" if error else "success",
        "status_code": attempt.status_code,
        "response_headers": dumps(redact.headers(attempt.headers)) if attempt.headers else None,
        "response": redact.text(attempt.body.decode("utf-8", "replace")) if attempt.body is not None else None,
        "duration": clock.elapsed_ms(attempt.started),
        "time_to_first_byte": attempt.time_to_first_byte_ms,
        "provider_request_id": _request_id(attempt.headers, redact),
        "error": redact.text(message) if message else None,
        "updated_at": clock.now(),
    }


def message_columns(response: ChatResponse, origin: history.Origin | None = None) -> Columns:
    """Return the content of a response as columns of its message."""
    message = response.message
    metadata = dict(message.metadata)
    if origin and (metadata or any(_is_bound_to_model(part) for part in message.parts)):
        metadata |= origin.to_metadata()
    signatures = [part.signature for part in message.parts if isinstance(part, Thinking) and part.signature]
    usage = response.usage
    return {
        "content": message.text,
        "content_raw": _raw_parts(message),
        "thinking_text": message.thinking or None,
        "thinking_signature": signatures[-1] if signatures else None,
        "thinking_tokens": usage.thinking_tokens if usage and usage.thinking_tokens else None,
        "finish_reason": response.finish_reason,
        "metadata": dumps(metadata) if metadata else None,
    }


def _is_bound_to_model(part: Part) -> bool:
    """Return whether a part has data that only the model which wrote it can read."""
    return bool(getattr(part, "metadata", None) or getattr(part, "signature", None))


def usage_columns(usage: Usage | None) -> Columns:
    """Return the usage of a request as its columns; none where the provider reported nothing."""
    if usage is None:
        return {}
    details = {**usage.details, **({"service_tier": usage.service_tier} if usage.service_tier else {})}
    return {
        "input_tokens": None if usage.unknown == "input" else usage.input_tokens,
        "output_tokens": None if usage.unknown == "output" else usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "thinking_tokens": usage.thinking_tokens,
        "usage_details": dumps(details) if details else None,
        "cost": usage.cost,
    }


def deletions_for(request_id: str, without: Collection[str]) -> list[Write]:
    """Return what deletes the rows that are not kept after a request's end; usage has been counted by then.

    Attempts and streams go with their request: nothing would lead to their text any more.
    """
    deleted = {"streams", "network", "requests"} if "requests" in without else without
    deletes = {
        "streams": Delete("response_streams", {"request_id": request_id}),
        "network": Delete("network_calls", {"request_id": request_id}),
        "requests": Delete("requests", {"id": request_id}),
    }
    return [write for kind, write in deletes.items() if kind in deleted]


def strip_text(writes: Iterable[Write]) -> Iterator[Write]:
    """Keep what says how much was used, and none of the text."""
    for write in writes:
        match write:
            case Insert("requests", row):
                yield Insert("requests", {name: value for name, value in row.items() if name not in _LINK_COLUMNS})
            case Update("requests" | "jobs" as table, id, changes):
                yield Update(table, id, {name: value for name, value in changes.items() if name != "error"})


def _ends_turn(message: Message, status: str) -> bool:
    """Return whether an answer ends its turn, and so is part of the chat: a step that calls tools does not.

    Of a broken answer with nothing but calls, people (or other programs on the hub) could be shown nothing.
    """
    return not message.tool_calls or (status != "completed" and bool(message.text))


def _raw_parts(message: Message) -> str | None:
    """Return the parts as JSON, or None where the text alone is all there is."""
    parts = [part for part in message.parts if not isinstance(part, File)]
    is_plain = len(parts) <= 1 and all(isinstance(part, Text) and not part.metadata for part in parts)
    return None if is_plain else dumps(parts_to_json(parts))


def _raw_output(state: CallState, redact: Redaction) -> str:
    """Return the answer as received; not if it contained a secret in pieces: joined, the secret would be complete."""
    raw = b"".join(state.chunks).decode("utf-8", "replace")
    is_whole = not state.has_redacted_field and redact.count(raw) >= state.redactions
    return redact.text(raw) if is_whole else REDACTED


def _error_text(error: LlmctlError | None, redact: Redaction) -> str | None:
    return redact.text(error.message) if error else None


def _request_id(headers: Mapping[str, str], redact: Redaction) -> str | None:
    found = next((headers[name] for name in _REQUEST_ID_HEADERS if name in headers), None)
    return redact.text(found) if found else None
