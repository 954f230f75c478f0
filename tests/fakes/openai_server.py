"""A scripted loopback server for OpenAI's Chat Completions: slow, malformed or missing answers.

Standard library only, one thread per connection, raw sockets: what goes wrong on the wire must really go wrong.
A test queues replies; each request takes the next one, and the usual one when there is none.

    with FakeServer() as server:
        server.answer(stream("one two three", hold=2))   # two words, then it waits for server.release()
        server.answer(stream("one two", then=RESET))
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

#: Steps of a body besides bytes: wait for ``release()``; close the connection; reset it; say nothing more; end the
#: body properly, even if it is incomplete.
HOLD, CUT, RESET, STALL, END = "hold", "cut", "reset", "stall", "end"
Step = bytes | str

_REASONS = {200: "OK", 302: "Found", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def messages(self) -> list[tuple[str, Any]]:
        """Role and content of every message."""
        return [(message["role"], message.get("content")) for message in self.json["messages"]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a head, and a body in steps. ``length`` is a Content-Length, true or not."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    length: int | None = None
    chunked: bool = False


#: Builds the reply to a request.
Answer = Reply | Callable[[Request], Reply]


class FakeServer:
    """Listens on its own port. ``requests`` holds the received requests, in order."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._answers: deque[Answer] = deque()
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def answer(self, *answers: Answer) -> None:
        """Queue replies for the next requests."""
        self._answers += answers

    def release(self) -> None:
        """Release every reply that is held, now or later."""
        self._released.set()

    def hold(self) -> None:
        """Hold replies again."""
        self._released.clear()

    def wait_for(self, count: int, timeout: float = 300) -> list[Request]:
        """Wait for that many requests and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, timeout), self.requests
            return list(self.requests)

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._released.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), client.makefile("rb") as reader:
            while (request := _read(reader)) is not None:
                with self._changed:
                    self.requests.append(request)
                    found = self._answers.popleft() if self._answers else USUAL
                    self._changed.notify_all()
                reply = found if isinstance(found, Reply) else found(request)
                if not self._send(client, reply):
                    return

    def _send(self, client: socket.socket, reply: Reply) -> bool:
        """Send a reply; return whether the connection can be used again."""
        client.sendall(_head(reply))
        for step in reply.steps:
            if isinstance(step, bytes):
                client.sendall(b"%x\r\n%s\r\n" % (len(step), step) if reply.chunked else step)
            elif step == HOLD:
                self._released.wait(300)
            elif step == STALL:
                self._stopped.wait(300)
            elif step == RESET:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                return False
            elif step == CUT:
                return False
            elif step == END:
                break
        if reply.chunked:
            client.sendall(b"0\r\n\r\n")
        return reply.chunked or reply.length is not None


def event(data: Any, name: str | None = None) -> bytes:
    """Return one server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def delta(text: str) -> bytes:
    """Return the event of a piece of text."""
    return event({"id": "cmpl-1", "model": "fake-1", "choices": [{"index": 0, "delta": {"content": text}}]})


def thought(text: str) -> bytes:
    """Return the event of a piece of thinking."""
    return event({"id": "cmpl-1", "model": "fake-1", "choices": [{"index": 0, "delta": {"reasoning_content": text}}]})


def words(text: str) -> list[bytes]:
    """Return an event for each word."""
    first, *rest = text.split(" ")
    return [delta(first), *(delta(f" {word}") for word in rest)]


def ending(text: str) -> list[bytes]:
    """Return finish reason, usage and the end marker."""
    tokens = len(text.split())
    usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
    return [
        event({"id": "cmpl-1", "model": "fake-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        event({"id": "cmpl-1", "model": "fake-1", "choices": [], "usage": usage}),
        event("[DONE]"),
    ]


def stream(
    text: str,
    *,
    hold: int | None = None,
    then: Step | None = None,
    insert: Mapping[int, Step] | None = None,
    headers: Mapping[str, str] | None = None,
    chunked: bool = True,
) -> Reply:
    """Return a streamed answer, word by word.

    It holds after so many words. ``insert`` puts steps after words; ``then`` takes the place of everything that
    would follow the last word.
    """
    steps: list[Step] = []
    inserted = dict(insert or {})
    if hold is not None:
        inserted[hold] = HOLD
    for number, word in enumerate(words(text), start=1):
        steps += [word, *([inserted[number]] if number in inserted else [])]
    steps = [*([inserted[0]] if 0 in inserted else []), *steps]
    steps += ending(text) if then is None else [then]
    return Reply(200, {"content-type": "text/event-stream", **(headers or {})}, tuple(steps), chunked=chunked)


def document(text: str) -> Reply:
    """Return the whole answer at once."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 7, "completion_tokens": len(text.split())}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return json_reply(200, {"id": "cmpl-1", "model": "fake-1", "choices": choices, "usage": usage})


def json_reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON document with a status."""
    body = json.dumps(value).encode()
    return Reply(status, {"content-type": "application/json", **(headers or {})}, (body,), length=len(body))


def refusal(status: int, message: str = "no", headers: Mapping[str, str] | None = None, **more: Any) -> Reply:
    """Return an error in the format of OpenAI."""
    return json_reply(status, {"error": {"message": message, **more}}, headers)


def page(status: int = 200) -> Reply:
    """Return an HTML page, such as captive portals and gateways send."""
    body = b"<!doctype html><html><head><title>Sign in</title></head><body>Please sign in</body></html>\n"
    return Reply(status, {"content-type": "text/html"}, (body,), length=len(body))


def redirect(url: str, status: int = 307) -> Reply:
    return Reply(status, {"location": url}, (), length=0)


def echo_headers(request: Request) -> Reply:
    """Answer with every header and the path of the request, as text."""
    return stream(" ".join([request.path, *(f"{name}={value}" for name, value in request.headers.items())]))


def _usual(request: Request) -> Reply:
    """Repeat the last message, streamed if the request says so."""
    if request.method == "GET":
        return json_reply(200, {"data": [{"id": "fake-1"}]})
    if request.path.endswith("/embeddings"):
        texts = request.json["input"]
        count = 1 if isinstance(texts, str) else len(texts)
        vectors = [{"index": index, "embedding": [0.5, 0.25]} for index in range(count)]
        return json_reply(200, {"data": vectors, "usage": {"prompt_tokens": 1, "total_tokens": 1}})
    last = request.messages[-1][1]
    text = f"echo: {last}" if isinstance(last, str) else "echo"
    return stream(text) if request.json.get("stream") else document(text)


USUAL: Answer = _usual


def _read(reader: Any) -> Request | None:
    line = reader.readline().decode("latin-1")
    if not line.strip():
        return None
    method, path, _ = line.split(" ", 2)
    headers = dict(_headers(iter(reader.readline, b"")))
    return Request(method, path, headers, reader.read(int(headers.get("content-length", 0))))


def _headers(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line in (b"\r\n", b"\n"):
            return
        name, _, value = line.decode("latin-1").partition(":")
        yield name.strip().lower(), value.strip()


def _head(reply: Reply) -> bytes:
    headers = dict(reply.headers)
    if reply.chunked:
        headers["transfer-encoding"] = "chunked"
    elif reply.length is not None:
        headers["content-length"] = str(reply.length)
    else:
        headers["connection"] = "close"
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Status')}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode("latin-1")
