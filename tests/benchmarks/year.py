"""A year of one heavy user as rows: who asks what of whom, when, and what it takes. See ``hub.py``."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_values import dumps
from tests.benchmarks.inserts import (
    AGENT,
    CALL,
    CHAT,
    CONNECTION,
    INVOCATION,
    JOB,
    MESSAGE,
    PRICE,
    REQUEST,
    SESSION,
    STREAM,
    THREAD,
    TOOL,
)
from tests.benchmarks.text import TextGenerator
from tests.benchmarks.year_profile import EMBEDDING, MODELS, TOOLS, USAGE_PATTERNS, Model, UsagePattern

Row = tuple[str, Sequence[object]]

_DAYS = 365
#: Requests are made as chats are, a little behind them: a long chat at the end would make too many.
_PACE = 0.97
#: How busy the hours of a day are (UTC).
_HOURS = (1, 1, 1, 1, 1, 2, 5, 12, 24, 30, 30, 28, 22, 28, 30, 28, 24, 16, 9, 8, 8, 6, 3, 2)


_HOST = "workbench"


_HEADERS = dumps({"authorization": "[redacted]", "content-type": "application/json"})


@dataclass(slots=True)
class Turn:
    """Where rows are being made: the chat, and the moment in Unix seconds."""

    chat: str
    thread: str
    session: str | None
    habit: UsagePattern
    model: Model
    at: float
    seq: int = 0
    job: str | None = None


class Year:
    """So many chats, messages and requests before a day; iterate over :meth:`rows` once."""

    def __init__(self, chats: int, messages: int, requests: int, audited: int, until: str, seed: int = 1) -> None:
        if messages < 2 * chats:
            raise ValueError("a chat has two messages at least")
        if requests < 0.7 * messages:
            raise ValueError("every assistant message has a request: 7 for 10 messages at least")
        self.random = random.Random(seed)
        self.prose = TextGenerator(seed)
        self.chats, self.messages, self.requests = chats, messages, requests
        self._audited_from = requests - audited
        self._end = clock.parse(until).timestamp()
        self._begin = self._end - timedelta(days=_DAYS).total_seconds()
        self._made = 0
        self._ids: dict[tuple[str, str], str] = {}
        self._hours = self._busy_hours()

    def rows(self) -> Iterator[Row]:
        """Yield every row with its statement, in order of time."""
        yield from self._parties()
        starts = sorted(self._moment() for _ in range(self.chats))
        for index, (start, size) in enumerate(zip(starts, self._sizes(), strict=True)):
            yield from self._chat(index, start, size)
            while self._made * self.chats < (index + 1) * self.requests * _PACE:
                yield from self._lone(start)
        while self._made < self.requests:
            yield from self._lone(self._moment())

    def _parties(self) -> Iterator[Row]:
        at = clock.from_unix(self._begin)
        for model in (*MODELS, EMBEDDING):
            if ("connection", model.connection) not in self._ids:
                kind = "embedding" if model is EMBEDDING else "chat"
                id = self._known("connection", model.connection)
                yield CONNECTION, (id, model.connection, model.provider, model.name, kind, at, at)
            if model.input is not None:
                price = self._known("price", model.name)
                prices = (model.input, model.output, model.cached)
                yield PRICE, (price, model.provider, model.name, "benchmark", *prices, at, at)
        for name in {habit.agent: 0 for habit in USAGE_PATTERNS if habit.agent}:
            yield AGENT, (self._known("agent", name), name, self._known("connection", "work"), "Be of help.", at, at)
        for name in TOOLS:
            yield TOOL, (self._known("tool", name), name, "command", "{}", '{"command":"true"}', at, at)

    def _chat(self, index: int, start: float, size: int) -> Iterator[Row]:
        habit = self.random.choices(USAGE_PATTERNS, [habit.share for habit in USAGE_PATTERNS])[0]
        model = self._model(start, habit)
        session = self._id() if habit.agent else None
        turn = Turn(self._id(), self._id(), session, habit, model, start)
        rows = list(self._turns(turn, size))
        source = self._known("agent", habit.agent) if habit.agent else self._known("connection", model.connection)
        kind, provider = ("agent" if habit.agent else "chatModel"), model.provider
        first, last = clock.from_unix(start), clock.from_unix(turn.at)
        name = f"chat-{index}" if index % 10 == 0 else None
        metadata = dumps({"ticket": str(index)}) if habit.tag == "tickets" else None
        place = (last, habit.folder, int(habit.script is None), metadata)
        yield CHAT, (turn.chat, name, kind, source, model.name, provider, *place, "llmctl", first, last)
        yield THREAD, (turn.thread, turn.chat, first, last)
        if session:
            yield SESSION, (session, habit.agent, turn.chat, first, last)
        yield from rows

    def _turns(self, turn: Turn, size: int) -> Iterator[Row]:
        if size % 2:
            yield self._message(turn, "system", self.prose.text(80), chat=True)
        while turn.seq < size:
            turn.job = self._id() if self._is_audited() else None
            if turn.job:
                yield self._job(turn)
            yield self._message(turn, "user", self.prose.text(self._length(130)), chat=True)
            step = 1
            if size - turn.seq >= 3 and self.random.random() < 0.2:
                yield from self._tool_step(turn)
                step = 2
            yield from self._answer(turn, step)
            turn.at += self.random.expovariate(1 / 240)

    def _answer(self, turn: Turn, step: int) -> Iterator[Row]:
        whole = self.random.random() > 0.015
        text = self.prose.text(self._length(500))
        yield from self._asked_for(turn, text, "completed" if whole else "interrupted", "stop", step)

    def _tool_step(self, turn: Turn) -> Iterator[Row]:
        name, call = self.random.choice(TOOLS), f"call_{self._id()[:8]}"
        arguments = dumps({"query": self.prose.text(20)})
        parts = dumps([{"type": "tool_call", "id": call, "name": name, "arguments": arguments}])
        rows = list(self._asked_for(turn, "", "completed", "tool_calls", 1, parts))
        yield from rows
        good = self.random.random() > 0.04
        result, took = self.prose.text(self._length(200)), int(self.random.lognormvariate(6, 1)) + 1
        message_id = next(row[0] for statement, row in rows if statement is MESSAGE)
        begun, turn.at = clock.from_unix(turn.at), turn.at + took / 1000
        done = ("completed", None) if good else ("failed", "exit status 1")
        ended = clock.from_unix(turn.at)
        yield INVOCATION, (
            *(self._id(), self._known("tool", name), message_id, call, call, name, arguments, arguments, result),
            *(*done, 1, took, begun, ended, "llmctl", begun, ended),
        )  # fmt: skip
        answer = dumps([{"type": "tool_result", "call_id": call, "name": name, "content": result}])
        yield self._message(turn, "tool", result, parts=answer)

    def _asked_for(
        self, turn: Turn, text: str, status: str, finish: str, step: int, parts: str | None = None
    ) -> Iterator[Row]:
        """Yield an assistant message with its request, both at the moment the request began."""
        request = self._request(turn, turn.seq * 180 + 60, len(text) // 4 + 20, status, finish, step)
        tokens = (request["input_tokens"], request["output_tokens"])
        message = self._message(turn, "assistant", text, chat=parts is None, parts=parts, status=status, tokens=tokens)
        request["message_id"] = message[1][0]
        yield message
        yield from self._logged(turn, request, text)

    def _lone(self, near: float) -> Iterator[Row]:
        """Yield a request that does not belong to a chat: an embedding, a call that keeps no text, a failure."""
        pick = self.random.random()
        at = max(self._begin, min(near + self.random.uniform(-3600, 3600), self._end - 60))
        habit = USAGE_PATTERNS[2] if pick < 0.85 else USAGE_PATTERNS[0]
        model = EMBEDDING if pick < 0.6 else self._model(at, habit)
        turn = Turn("", "", None, habit, model, at)
        if pick > 0.95:
            request = self._request(turn, 900, 0, "failed", None, 1)
            request |= {"status_code": 429, "cost": None, "input_tokens": None, "output_tokens": None}
            request |= {"error_code": "unavailable", "error_reason": "rate_limit", "error": "too many requests"}
        else:
            request = self._request(turn, 900, 0 if model is EMBEDDING else 200, "completed", "stop", 1)
        request |= {"chat_id": None, "thread_id": None, "type": "embedding" if model is EMBEDDING else "chat"}
        yield from self._logged(turn, request, "")

    def _request(
        self, turn: Turn, size: int, answer: int, status: str, finish: str | None, step: int
    ) -> dict[str, Any]:
        model, habit = turn.model, turn.habit
        taken = int(self.random.lognormvariate(0, 0.6) * model.speed_ms) + 1
        tokens_in, tokens_out = int(size * self.random.uniform(0.7, 1.4)), int(answer * self.random.uniform(0.8, 1.3))
        cached = tokens_in // 2 if turn.seq > 4 and model.cached else 0
        cost = 0.0  # a local server
        if model.input is not None and model.output is not None:
            fresh = (tokens_in - cached) * model.input + cached * (model.cached or 0)
            cost = (fresh + tokens_out * model.output) / 1e6
        return {
            "id": self._id(), "chat_id": turn.chat, "thread_id": turn.thread, "message_id": None, "job_id": turn.job,
            "session_id": turn.session, "type": "chat", "provider": model.provider, "model": model.name,
            "connection": model.connection, "agent": habit.agent, "status": status, "status_code": 200,
            "duration": taken, "time_to_first_token": int(taken * self.random.uniform(0.1, 0.35)) + 1,
            "input_tokens": tokens_in, "output_tokens": tokens_out, "cached_tokens": cached, "cost": cost,
            "price_id": self._ids.get(("price", model.name)), "step": step, "finish_reason": finish,
            "error_code": None, "error_reason": None, "error": None, "tag": habit.tag, "script": habit.script,
            "folder": habit.folder, "git_commit": None, "host": _HOST, "origin": "llmctl",
        }  # fmt: skip

    def _logged(self, turn: Turn, request: dict[str, Any], text: str) -> Iterator[Row]:
        begun = clock.from_unix(turn.at)
        turn.at += request["duration"] / 1000
        ended = clock.from_unix(turn.at)
        yield REQUEST, (*request.values(), begun, ended)
        if self._is_audited():
            yield from self._audit(turn, request, text, begun, ended)
        self._made += 1

    def _audit(self, turn: Turn, request: dict[str, Any], text: str, begun: str, ended: str) -> Iterator[Row]:
        call, stream, id, job = self._id(), self._id(), request["id"], request["job_id"]
        good = request["status"] != "failed"
        body = dumps({"model": turn.model.name, "messages": [{"role": "user", "content": self.prose.text(130)}]})
        place = (f"https://api.{turn.model.provider}.example/v1", "POST", body, None, "success" if good else "error")
        took = (request["duration"], request["time_to_first_token"])
        yield CALL, (call, id, job, *place, request["status_code"], _HEADERS, "{}", *took, begun, ended)
        if good:
            source, form = self._known("connection", turn.model.connection), dumps({"wire": "openai-chat"})
            raw = f"data: {dumps({'choices': [{'delta': {'content': text}}]})}\n\ndata: [DONE]\n\n"
            kept = (request["message_id"], id, form, request["status"], raw)
            yield STREAM, (stream, source, *kept, begun, ended)

    def _message(
        self,
        turn: Turn,
        role: str,
        text: str,
        *,
        chat: bool = False,
        parts: str | None = None,
        status: str = "completed",
        tokens: tuple[int | None, int | None] = (None, None),
    ) -> Row:
        turn.seq += 1
        turn.at += 0.001
        at, is_answer = clock.from_unix(turn.at), role == "assistant"
        kind = {"assistant": "chatModel", "tool": "toolCall"}.get(role, role)
        source = self._known("connection", turn.model.connection) if is_answer else None
        model = (turn.model.name, turn.model.provider) if is_answer else (None, None)
        finish = ("tool_calls" if parts else "stop") if is_answer else None
        place = (self._id(), turn.thread, turn.seq, turn.chat if chat else None, role, kind, source, status)
        return MESSAGE, (*place, text, parts, *tokens, *model, finish, turn.job, "llmctl", at, at)

    def _job(self, turn: Turn) -> Row:
        at = clock.from_unix(turn.at)
        return JOB, (turn.job, "chat", "turn", "completed", at, at, at, at)

    def _is_audited(self) -> bool:
        return self._made >= self._audited_from

    def _sizes(self) -> list[int]:
        """Return how many messages each chat has: most are short, some very long, all together as many as wanted."""
        free = self.messages - 2 * self.chats
        shares = list(accumulate(self.random.lognormvariate(0, 1.1) for _ in range(self.chats)))
        edges = [0, *(round(free * share / shares[-1]) for share in shares)]
        return [2 + after - before for before, after in pairwise(edges)]

    def _model(self, at: float, habit: UsagePattern) -> Model:
        """Return a model that was there at that time; scripts and agents keep to one connection."""
        share = (at - self._begin) / (self._end - self._begin)
        there = [model for model in MODELS if model.begins <= share < model.ends]
        wanted = {"coder": "sonnet", "support": "flash", None: "work" if habit.tag == "ci" else None}[habit.agent]
        kept = [model for model in there if model.connection == wanted]
        return kept[0] if kept else self.random.choice(there)

    def _busy_hours(self) -> list[float]:
        """Return the running sum of how busy each hour of the year is: working days, and more from month to month."""
        begin = clock.parse(clock.from_unix(self._begin))
        weights = (
            _HOURS[hour] * (0.3 if (begin + timedelta(days=day)).weekday() > 4 else 1) * (0.5 + day / _DAYS)
            for day in range(_DAYS)
            for hour in range(24)
        )
        return list(accumulate(weights))

    def _moment(self) -> float:
        hour = bisect(self._hours, self.random.random() * self._hours[-1])
        return self._begin + (min(hour, _DAYS * 24 - 1) + self.random.random()) * 3600

    def _length(self, usual: int) -> int:
        return int(usual * self.random.lognormvariate(-0.3, 0.75))

    def _known(self, kind: str, name: str) -> str:
        return self._ids.setdefault((kind, name), self._id())

    def _id(self) -> str:
        text = f"{self.random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"
