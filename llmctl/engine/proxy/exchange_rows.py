"""Turn an exchange that passed through the proxy into the rows that ``chat`` would have written."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core import clock
from llmctl.core.chat import ChatRequest, ChatResponse, Message, Usage
from llmctl.core.errors import IncompleteError, LlmctlError, UnavailableError
from llmctl.core.http import HttpRequest
from llmctl.core.options import TurnOptions
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import dumps, loads, new_id
from llmctl.core.values import Value
from llmctl.engine.billing.cost import PriceCache, calculate_cost, price_context, price_key
from llmctl.engine.connections.target import Target
from llmctl.engine.proxy.conversations import (
    Continuation,
    ConversationIndex,
    find_session_key,
    hash_conversation,
    without_billing,
)
from llmctl.engine.runtime import CallerInfo, RuntimeEnv
from llmctl.engine.turn import decode, records
from llmctl.engine.turn.group_recorder import ExchangeRecorder
from llmctl.engine.turn.model_call import check_complete, explain_disconnect, receive_event
from llmctl.engine.turn.plan import TurnPlan, UserInput
from llmctl.engine.turn.state import Attempt, CallEnd, CallState, StepRequest, TurnIds
from llmctl.providers import PROVIDERS, find_by_host, is_loopback
from llmctl.store.database import Database, Insert, Update, Write
from llmctl.store.exchange_spool import StoredExchange
from llmctl.store.records import chats, proxied
from llmctl.transport.decompression import DecompressionError, decompress
from llmctl.wire import WIRES
from llmctl.wire.incoming import Operation, parse_request

#: Writer of the rows.
ORIGIN = "proxy"
_WIRE_PROVIDERS = {"anthropic": "anthropic", "gemini": "gemini", "ollama": "ollama"}
#: Agents that ask for a title and the like in a request without tools, beside their conversation.
_AGENTS = ("claude-cli", "opencode")
#: Fields of a body that hold the conversation, and the roles of the model in them.
_CONVERSATIONS = ("messages", "input", "contents")
_MODEL_ROLES = ("assistant", "model")
_REDACT = Redaction()

_BROKEN = {
    "client": IncompleteError("the program closed the connection", reason="interrupted"),
    "connect": UnavailableError("cannot connect to the provider", reason="network"),
    "timeout": UnavailableError("no answer in time", reason="timeout"),
    "cut": UnavailableError("the provider closed the connection", reason="cut"),
    "died": IncompleteError("the proxy was killed during the exchange", reason="interrupted"),
}


class ExchangeFacts(Value):
    """What the proxy noted of an exchange when it began."""

    at: str
    method: str
    #: Where it went, and its headers; both without secrets.
    url: str
    headers: Mapping[str, str]
    wire: str
    kind: str
    #: The model, where the path names it.
    model: str | None
    app: str
    client: str | None
    connection: str | None
    connection_id: str | None
    provider: str | None
    folder: str | None
    project: str | None
    billing: str | None
    no_log: bool
    job_id: str
    #: The conversation, as the program calls it; found when the exchange is read.
    session_key: str | None = None


class ChatState(Value):
    """What is known of a chat that the proxy records."""

    #: The thread that people see; None as long as there were only side calls.
    main_thread: str | None
    instructions: str | None


class ExchangeReader:
    """Makes rows of exchanges, in their order."""

    def __init__(self, database: Database, runtime: RuntimeEnv) -> None:
        self._database = database
        self._runtime = runtime
        self._prices = PriceCache(database)
        self._index = ConversationIndex(database)
        self._chats: dict[str, ChatState] = {}
        self._systems: dict[str, str] = {}
        self._names: set[str] = set()

    def build_writes(self, exchange_id: str, exchange: StoredExchange) -> list[Write]:
        """Return the rows of an exchange; its request has the id of the exchange."""
        facts = ExchangeFacts(**exchange.about)
        plan = self._plan(facts)
        try:
            names = {name.lower(): value for name, value in facts.headers.items()}
            exchange.request = b"".join(decompress([exchange.request], names.get("content-encoding", "")))
            facts = facts.replace(session_key=find_session_key(names, _load_json(exchange.request)))
            writes = self._build_writes(exchange_id, exchange, facts, plan)
        except Exception as error:  # bytes of strangers: what of them is odd must not keep the rest from the hub
            writes = self._other_writes(exchange_id, exchange, facts, plan, f"{type(error).__name__}: {error}")
        return list(_complete(writes, facts))

    def _build_writes(
        self, exchange_id: str, exchange: StoredExchange, facts: ExchangeFacts, plan: TurnPlan
    ) -> list[Write]:
        request, problem = None, None
        if facts.kind == "chat":
            try:
                request = parse_request(Operation(facts.wire, "chat", facts.model), exchange.request)
            except ValueError as error:
                problem = str(error) if exchange.request_size == len(exchange.request) else "the body is incomplete"
        if request is None:
            return self._other_writes(exchange_id, exchange, facts, plan, problem)
        plan = plan.replace(target=plan.target.replace(model=request.model))
        return self._chat_writes(exchange_id, exchange, facts, plan, request)

    def _plan(self, facts: ExchangeFacts) -> TurnPlan:
        return TurnPlan(
            chat=None,
            target=find_target(facts),
            input=UserInput(),
            options=TurnOptions(),
            caller=CallerInfo(folder=facts.folder),
            runtime=self._runtime,
            log=not facts.no_log,
        )

    def _chat_writes(
        self, exchange_id: str, exchange: StoredExchange, facts: ExchangeFacts, plan: TurnPlan, request: ChatRequest
    ) -> list[Write]:
        turns = tuple(message for message in request.messages if message.role != "system")
        system = "\n\n".join(message.text for message in request.messages if message.role == "system")
        found = self._index.find(turns, facts.session_key, facts.app)
        ids = TurnIds(found.chat_id, found.thread_id, facts.job_id, found.seq, facts.at)
        writes = self._thread_writes(found, facts, plan, request, system)
        if self._chats[found.chat_id].main_thread != found.thread_id:
            ids.chat_id = ""  # people do not see these messages in the chat
        writes += self._system_writes(ids, system)
        for message, value in zip(turns[found.known :], found.hashes[found.known :], strict=True):
            writes += _with_hash(records.message_writes(ids, message, self._database), value)
        call = _ExchangeCall(exchange_id, exchange, facts, plan, ids, self._prices, self._database)
        response, rows = call.run(request, _find_omitted(exchange.request, turns, found))
        answer_hash = None
        if response.message.parts and found.hashes:
            answer_hash = hash_conversation([response.message], found.hashes[-1])[0]
            rows = _with_hash(rows, answer_hash)
        last_seq = ids.seq if response.message.parts else ids.seq - 1
        if not facts.no_log:
            self._index.add(found, facts.session_key, facts.app, last_seq, answer_hash)
        rows = [_with_columns(write, "requests", {"chat_id": found.chat_id}) for write in rows]
        return list(records.strip_text(rows)) if facts.no_log else [*writes, *rows]

    def _thread_writes(
        self, found: Continuation, facts: ExchangeFacts, plan: TurnPlan, request: ChatRequest, system: str
    ) -> list[Write]:
        """Return the rows of a new chat and a new thread, and what changes of the chat."""
        state = self._chats[found.chat_id] = self._chat_state(found)
        if not found.is_new_thread:
            return [Update("chats", found.chat_id, {"last_turn_at": facts.at, "updated_at": facts.at})]
        has_tools = bool(request.tools or request.options.get("tools"))
        is_side_call = not has_tools and (facts.client or "").startswith(_AGENTS)
        if not is_side_call and (
            state.main_thread is None or without_billing(system) == without_billing(state.instructions or "")
        ):
            state = ChatState(found.thread_id, system)
        self._chats[found.chat_id] = state
        shown: dict[str, Any] = {"refs": dumps({"main_thread": state.main_thread} if state.main_thread else {})}
        shown |= {"instructions": state.instructions or None, "last_turn_at": facts.at, "updated_at": facts.at}
        chat: Write = Update("chats", found.chat_id, shown)
        if found.is_new_chat:
            row = records.chat_row(found.chat_id, plan.replace(name=self._pick_name(facts)), _REDACT, facts.at)
            about = {"app": facts.app} | ({"client": facts.client} if facts.client else {})
            chat = Insert("chats", {**row, **shown, "metadata": dumps(about), "last_turn_folder": None})
        parent = {"parent_id": found.parent.thread_id, "parent_seq": found.parent.seq} if found.parent else {}
        thread = {"id": found.thread_id, "chat_id": found.chat_id, **parent, **records.timestamps(facts.at)}
        return [chat, Insert("message_threads", thread)]

    def _chat_state(self, found: Continuation) -> ChatState:
        if state := self._chats.get(found.chat_id):
            return state
        row = None if found.is_new_chat else chats.find_by_id(self._database, found.chat_id)
        return ChatState(loads(row.refs, {}).get("main_thread"), row.instructions) if row else ChatState(None, None)

    def _system_writes(self, ids: TurnIds, system: str) -> list[Write]:
        """Return the system prompt as a message, where the thread has none or another."""
        known = self._systems.get(ids.thread_id)
        if known is None:
            known = proxied.find_last_system(self._database, ids.thread_id) or ""
        self._systems[ids.thread_id] = system
        if not system or without_billing(system) == without_billing(known):
            return []
        return records.message_writes(ids, Message.from_text("system", system))

    def _pick_name(self, facts: ExchangeFacts) -> str:
        folder = (facts.project or facts.folder or "").rstrip("/").rpartition("/")[2]
        base = f"{facts.app} in {folder}" if folder else facts.app
        name, number = base, 1
        while name in self._names or not proxied.is_free_name(self._database, name):
            number += 1
            name = f"{base} {number}"
        self._names.add(name)
        return name

    def _other_writes(
        self,
        exchange_id: str,
        exchange: StoredExchange,
        facts: ExchangeFacts,
        plan: TurnPlan,
        problem: str | None,
    ) -> list[Write]:
        """Return the rows of an exchange that is no conversation, or whose request cannot be read."""
        ids = TurnIds("", "", facts.job_id, 0, facts.at)
        ids.advance()
        call = _ExchangeCall(exchange_id, exchange, facts, plan, ids, self._prices, self._database)
        rows = call.run_other(problem)
        return list(records.strip_text(rows)) if facts.no_log else rows


class _ExchangeCall:
    """The request, attempt and stream of one exchange."""

    def __init__(
        self,
        exchange_id: str,
        exchange: StoredExchange,
        facts: ExchangeFacts,
        plan: TurnPlan,
        ids: TurnIds,
        prices: PriceCache,
        database: Database,
    ) -> None:
        self._id = exchange_id
        self._exchange = exchange
        self._facts = facts
        self._plan = plan
        self._ids = ids
        self._prices = prices
        self._database = database
        self._recorder = ExchangeRecorder(ids, plan.replace(log=True), _REDACT)
        #: When the piece came that is read now.
        self._now_ms = 0

    def run(self, request: ChatRequest, omitted: tuple[int, str]) -> tuple[ChatResponse, list[Write]]:
        """Return the answer and the rows of a conversation; ``omitted``: messages left out of the body that is kept."""
        seq, _ = self._ids.advance()
        names = [tool.name for tool in request.tools]
        state = CallState(new_id(), self._id, new_id(), seq, tool_names=names)
        step = StepRequest(1, request, (), is_changed=True)
        self._recorder.begin(state, records.call_writes(self._plan, self._ids, state, step, _REDACT))
        attempt = self._begin_attempt({"omitted_messages": omitted[0], "body": _REDACT.request_text(omitted[1])})
        error = self._read_answer(state, attempt)
        response = self._recorder.build_response()
        self._set_duration(state, attempt)
        self._recorder.end_attempt(attempt, error)
        cost = self._price(response.usage, response.model) | self._possible_cost(response, state.may_be_billed(error))
        self._recorder.finish(_to_status(error), response, {}, cost_columns=cost, error=error)
        return response, self._recorder.pop_writes()

    def run_other(self, problem: str | None) -> list[Write]:
        """Return the rows of a request that is no conversation."""
        facts, exchange = self._facts, self._exchange
        state = CallState(new_id(), self._id, new_id(), 0)
        parameters = {"unparsed": problem} if problem else {}
        row = records.request_row(self._plan, self._ids, state, parameters, _REDACT)
        body = _load_json(exchange.request)
        kind = facts.kind if facts.kind in ("embedding", "image") else "other"
        row |= {"type": kind, "model": facts.model or str(body.get("model") or "") or facts.method.lower()}
        self._recorder.begin(state, [Insert("requests", row)])
        text = exchange.request.decode("utf-8", "replace")
        attempt = self._begin_attempt({"body": _REDACT.request_text(text) or None})
        attempt.status_code = state.status_code = exchange.status
        attempt.headers = exchange.headers
        answer = b"".join(self._decompress_answer()) if exchange.pieces else b""
        error = self._find_error(answer)
        attempt.body = answer[:1_000_000] if error else None
        self._set_duration(state, attempt)
        self._recorder.end_attempt(attempt, error)
        usage = _read_usage(_load_json(answer)) if kind != "other" or problem else None
        is_free = facts.kind in ("models", "count") or facts.method in ("GET", "HEAD", "OPTIONS", "DELETE")
        cost = {"cost": 0.0} if is_free else self._price(usage, None)
        response = ChatResponse(Message("assistant", ()), usage=usage)
        self._recorder.finish_request(CallEnd(_to_status(error), response, False, {}, error, cost))
        return self._recorder.pop_writes()

    def _begin_attempt(self, columns: Mapping[str, Any]) -> Attempt:
        facts, exchange = self._facts, self._exchange
        http = HttpRequest(facts.method, facts.url, facts.headers, exchange.request)
        known = {"body_hash": exchange.request_hash} if exchange.request_hash else {}
        return self._recorder.begin_attempt(http, 1, lambda: {**columns, **known})

    def _set_duration(self, state: CallState, attempt: Attempt) -> None:
        """Let it have begun as long ago as it took."""
        exchange = self._exchange
        last_ms = exchange.pieces[-1][0] if exchange.pieces else exchange.first_byte_ms or 0
        duration_ms = last_ms if exchange.duration_ms is None else exchange.duration_ms
        state.started = attempt.started = time.monotonic() - duration_ms / 1000
        attempt.time_to_first_byte_ms = exchange.first_byte_ms

    def _read_answer(self, state: CallState, attempt: Attempt) -> LlmctlError | None:
        """Fold the answer into the state; return why it is none."""
        exchange = self._exchange
        attempt.status_code = state.status_code = exchange.status
        attempt.headers = exchange.headers
        if exchange.status is None or not 200 <= exchange.status < 300:
            body = b"".join(self._decompress_answer())
            attempt.body = body[:1_000_000]
            return self._find_error(body)
        wire, broken = WIRES.load(self._facts.wire), self._find_break()
        try:
            for event in decode.decode_events(self._note_times(state), wire, self._plan.target.provider.dialect):
                was_delivered = state.delivered
                receive_event(state, event)
                if state.delivered and not was_delivered:
                    state.time_to_first_token_ms = self._now_ms
            if broken is None and self._is_whole():
                check_complete(state, dict(self._plan.options.options), {"max_tokens": 1})
        except LlmctlError as error:
            return broken or error
        return broken and explain_disconnect(state, broken, broken)

    def _note_times(self, state: CallState) -> Iterator[bytes]:
        """Yield the decompressed pieces of the answer, and note when each came."""
        for data in self._decompress_answer():
            state.timeline.append([state.size_bytes, self._now_ms])
            state.size_bytes += len(data)
            state.chunks.append(data)
            yield data

    def _decompress_answer(self) -> Iterator[bytes]:
        """Yield the decompressed pieces; what cannot be decompressed ends them."""
        try:
            yield from decompress(self._pieces(), self._exchange.headers.get("content-encoding", ""))
        except DecompressionError:
            return

    def _pieces(self) -> Iterator[bytes]:
        for came_at_ms, data in self._exchange.pieces:
            self._now_ms = came_at_ms
            yield data

    def _is_whole(self) -> bool:
        """Return whether all of the answer was kept."""
        return self._exchange.answer_size == sum(len(data) for _, data in self._exchange.pieces)

    def _find_break(self) -> LlmctlError | None:
        if self._exchange.ended:
            return _BROKEN.get(self._exchange.error or "")
        return _BROKEN["died"]

    def _find_error(self, body: bytes) -> LlmctlError | None:
        """Return the error of an answer that is none."""
        exchange = self._exchange
        if broken := self._find_break():
            return broken
        if exchange.status is not None and exchange.status >= 400:
            return WIRES.load(self._facts.wire).parse_error(exchange.status, exchange.headers, body)
        return None

    def _possible_cost(self, response: ChatResponse, may_be_billed: bool) -> dict[str, Any]:
        """Return what stays reserved of a request under a limit: all of it where nobody says what it cost."""
        if response.usage is not None or not may_be_billed:
            return {"reserved_cost": None}
        return {"reserved_cost": proxied.find_reserved_cost(self._database, self._id)}

    def _price(self, usage: Usage | None, model: str | None) -> dict[str, Any]:
        target = self._plan.target
        cost = calculate_cost(
            self._database,
            price_key(target),
            usage,
            (model, target.model),
            moment=clock.parse(self._facts.at),
            context=price_context({}),
            prices=self._prices,
        )
        if self._facts.billing == "subscription":
            return {"cost": 0.0, "price_id": cost.price_id, "list_cost": cost.amount}
        return cost.to_columns()


def find_target(facts: ExchangeFacts) -> Target:
    """Return where an exchange went, as a turn knows it."""
    provider = find_by_host(facts.url)
    if provider is None:
        name = facts.provider or _WIRE_PROVIDERS.get(
            facts.wire, "compatible" if not is_loopback(facts.url) else "openai"
        )
        provider = PROVIDERS.load(name)
    return Target(
        provider=provider,
        model=facts.model or "",
        base_url=facts.url,
        wire=facts.wire,
        connection=facts.connection,
        connection_id=facts.connection_id,
    )


def _find_omitted(body: bytes, turns: tuple[Message, ...], found: Continuation) -> tuple[int, str]:
    """Return how many messages the thread has already, and the body without them.

    They end with the last answer, as in a request of a turn.
    """
    text = body.decode("utf-8", "replace")
    answered = records.count_sent_messages(turns)
    document = _load_json(body)
    name = next((name for name in _CONVERSATIONS if isinstance(document.get(name), list)), None)
    if not answered or found.known < answered or name is None:
        return 0, text
    items = document[name]
    of_model = [number for number, item in enumerate(items) if isinstance(item, dict) and _is_of_model(item)]
    if not of_model:
        return 0, text
    return answered, dumps({**document, name: items[of_model[-1] + 1 :]})


def _is_of_model(item: Mapping[str, Any]) -> bool:
    kind = str(item.get("type", ""))
    return item.get("role") in _MODEL_ROLES or kind == "reasoning" or kind.endswith("_call")


def _load_json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_usage(document: Mapping[str, Any]) -> Usage | None:
    """Return the tokens of an answer that is no conversation: embeddings and images."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        count = document.get("prompt_eval_count")
        return Usage(input_tokens=count) if isinstance(count, int) else None
    given = (usage.get(name) for name in ("prompt_tokens", "input_tokens", "total_tokens"))
    tokens = next((count for count in given if isinstance(count, int)), None)
    output = usage.get("output_tokens", 0)
    return None if tokens is None else Usage(tokens, output if isinstance(output, int) else 0)


def _to_status(error: LlmctlError | None) -> str:
    if error is None:
        return "completed"
    if error.reason == "interrupted":
        return "interrupted"
    return "incomplete" if isinstance(error, IncompleteError) else "failed"


def _with_hash(writes: list[Write], value: str) -> list[Write]:
    """Return rows in which messages have the hash of the conversation up to them."""
    return [_with_columns(write, "messages", {"prefix_hash": value}) for write in writes]


def _with_columns(write: Write, table: str, columns: Mapping[str, Any]) -> Write:
    if isinstance(write, Insert) and write.table == table:
        return Insert(table, {**write.row, **columns})
    return write


def _complete(writes: list[Write], facts: ExchangeFacts) -> Iterator[Write]:
    """Yield the rows with what only the proxy knows of them, and with the time of the exchange."""
    request = {"app": facts.app, "client": facts.client, "session_key": facts.session_key, "project": facts.project}
    request |= {"billing": facts.billing, "folder": facts.folder, "origin": ORIGIN}
    times, number = records.timestamps(facts.at), 0
    for write in writes:
        match write:
            case Insert("requests", row):
                yield Insert("requests", {**row, **request, **times})
            case Insert("messages", row):
                at = records.timestamps(clock.add_seconds(facts.at, number / 1000))
                number += 1
                yield Insert("messages", {**row, **at, "origin": ORIGIN})
            case Insert("chats", row):
                yield Insert("chats", {**row, "origin": ORIGIN})
            case Insert(table, row) if table in ("network_calls", "response_streams"):
                yield Insert(table, {**row, **times})
            case _:
                yield write
