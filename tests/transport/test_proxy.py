"""A proxy passes every byte on and keeps it first; the upstream is a socket that answers what a test scripts."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llmctl.transport.proxy import (
    Gate,
    Headers,
    ProxiedRequest,
    ProxyServer,
    Refusal,
    open_listener,
    without_hop_by_hop,
)


class KeptPassage:
    """Keeps what passes, and notes the order."""

    def __init__(self, url: str, request: ProxiedRequest) -> None:
        self.url = url
        self.headers = tuple(pair for pair in without_hop_by_hop(request.headers) if pair[0].lower() != "host")
        self.events: list[str] = []
        self.sent = b""
        self.answer = b""
        self.status = 0
        self.answer_headers: Headers = ()
        self.ended = threading.Event()
        self.error: str | None = "not ended"

    def begin(self) -> None:
        self.events.append("begin")

    def add_request(self, data: bytes) -> None:
        self.sent += data

    def end_request(self) -> None:
        self.events.append("sent")

    def respond(self, status: int, headers: Headers) -> None:
        self.status, self.answer_headers = status, headers

    def add_response(self, data: bytes) -> None:
        self.answer += data

    def end(self, error: str | None) -> None:
        self.error = error
        self.ended.set()


class KeepingGate:
    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.passages: list[KeptPassage] = []

    async def admit(self, request: ProxiedRequest) -> KeptPassage | Refusal:
        if request.path == "/forbidden":
            return self.refuse(request, 402, "budget", "no")
        passage = KeptPassage(f"http://127.0.0.1:{self.upstream}{request.path}", request)
        self.passages.append(passage)
        return passage

    def refuse(self, request: ProxiedRequest, status: int, reason: str, message: str) -> Refusal:
        return Refusal(status, f"{reason}: {message}".encode())


class Upstream:
    """Answers each connection with the scripted bytes, after it read a whole request."""

    def __init__(self, *answers: bytes | Callable[[socket.socket], None]) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for answer in self.answers:
            connection, _ = self.listener.accept()
            with connection:
                self.requests.append(read_request(connection))
                if callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)
        self.listener.close()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lower = head.lower()
    if b"content-length:" in lower:
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65536)
    elif b"transfer-encoding: chunked" in lower:
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def run_proxy(gate: Gate) -> Iterator[int]:
    loop = asyncio.new_event_loop()
    server = ProxyServer(gate)
    listener = open_listener(0)
    port = listener.getsockname()[1]
    loop.run_until_complete(server.start(listener))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def talk(port: int, request: bytes) -> bytes:
    """Send bytes and return all that comes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request.replace(b"PORT", str(port).encode()))
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
        except ConnectionResetError:
            answer += b"<reset>"
        return answer


def ask(body: bytes = b"", *, method: str = "POST", path: str = "/v1/x", headers: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n{headers}{length}\r\n".encode()
        + body
    )


def exchange(answer: Any, request: bytes) -> tuple[bytes, Upstream, KeepingGate]:
    upstream = Upstream(answer)
    gate = KeepingGate(upstream.port)
    with run_proxy(gate) as port:
        came = talk(port, request)
    return came, upstream, gate


def test_answer_of_known_length_is_passed_on_and_kept() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Odd-CASE: a\r\nContent-Length: 5\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nhello"
    came, upstream, gate = exchange(answer, ask(b'{"a": 1}', headers="X-My-CASE: b\r\n"))
    head, _, body = came.partition(b"\r\n\r\n")
    assert body == b"hello"
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"
    lines = head.split(b"\r\n")[1:]
    assert lines[:4] == [b"X-Odd-CASE: a", b"Content-Length: 5", b"Set-Cookie: a=1", b"Set-Cookie: b=2"]
    assert not [line for line in lines[4:] if not line.startswith(b"Connection")]
    sent = upstream.requests[0]
    assert b"X-My-CASE: b\r\n" in sent
    assert sent.endswith(b'\r\n\r\n{"a": 1}')
    assert not [name for name in (b"User-Agent", b"Accept", b"Content-Type") if name.lower() + b":" in sent.lower()]
    (passage,) = gate.passages
    assert (passage.sent, passage.answer, passage.status, passage.error) == (b'{"a": 1}', b"hello", 200, None)
    assert passage.events == ["begin", "sent"]


def test_stream_and_its_encoding_are_passed_on_unread() -> None:
    packed = bytes(range(256))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (packed[:100], packed[100:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\nContent-Type: a/b\r\n\r\n"
    came, _, gate = exchange(head + chunks + b"0\r\n\r\n", ask(b"{}"))
    assert b"Content-Encoding: gzip" in came
    assert gate.passages[0].answer == packed
    body = came.partition(b"\r\n\r\n")[2]
    joined = b""
    while body and not body.startswith(b"0\r\n"):
        size, _, rest = body.partition(b"\r\n")
        joined, body = joined + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    assert joined == packed


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
    ],
)
def test_answer_without_body_ends(method: str, answer: bytes) -> None:
    came, _, gate = exchange(answer, ask(method=method))
    assert came.partition(b"\r\n\r\n")[2] == b""
    assert came.split(b"\r\n")[0] == answer.split(b"\r\n")[0]
    assert gate.passages[0].error is None


def test_error_status_is_passed_on() -> None:
    came, _, gate = exchange(b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}", ask(b"{}"))
    assert came.startswith(b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\n")
    assert gate.passages[0].error is None


def test_answer_that_breaks_off_breaks_off_for_the_caller() -> None:
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    came, _, gate = exchange(cut, ask(b"{}"))
    assert b"hello" in came
    assert not came.endswith(b"0\r\n\r\n")
    assert gate.passages[0].error == "cut"
    assert gate.passages[0].answer == b"hello"


def test_upstream_that_is_not_there_is_a_502() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gate = KeepingGate(port)
    with run_proxy(gate) as own:
        came = talk(own, ask(b"{}"))
    assert came.startswith(b"HTTP/1.1 502 ")
    assert b"cannot connect to 127.0.0.1" in came
    assert gate.passages[0].error == "connect"


def test_upstream_that_closes_without_an_answer_is_a_502() -> None:
    came, _, gate = exchange(b"", ask(b"{}"))
    assert came.startswith(b"HTTP/1.1 502 ")
    assert gate.passages[0].error == "cut"


def test_caller_that_hangs_up_ends_the_exchange() -> None:
    def answer_for_ever(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        except OSError:
            pass

    upstream = Upstream(answer_for_ever)
    gate = KeepingGate(upstream.port)
    with run_proxy(gate) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(ask(b"{}").replace(b"PORT", str(port).encode()))
            assert connection.recv(100)
        assert gate.passages[0].ended.wait(20)
        upstream.thread.join(20)  # its connection was closed
        assert not upstream.thread.is_alive()
    assert gate.passages[0].error == "client"
    assert gate.passages[0].answer.startswith(b"x")


def test_body_without_length_is_passed_on_in_chunks() -> None:
    request = (
        b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    _, upstream, gate = exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", request)
    assert gate.passages[0].sent == b"abcde"
    assert b"abcde" in upstream.requests[0]


def test_path_is_not_rewritten() -> None:
    path = "/v1/models/a%2Fb:gen%20x?key=%41&b=c+d&&e"
    _, upstream, _ = exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ask(method="GET", path=path))
    assert upstream.requests[0].startswith(f"GET {path} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", b"421"),
        (b"GET /v1/x HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n\r\n", b"421"),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n", b"405"),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", b"404"),
        (ask(headers="Origin: http://evil.example\r\n"), b"403"),
        (ask(method="GET").replace(b"Connection: close", b"Connection: Upgrade\r\nUpgrade: websocket"), b"426"),
        (ask(path="/forbidden"), b"402"),
    ],
)
def test_request_that_is_not_for_this_proxy_reaches_nobody(request_bytes: bytes, status: bytes) -> None:
    gate = KeepingGate(1)
    with run_proxy(gate) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request_bytes.replace(b"PORT", str(port).encode()))
        assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)
    assert gate.passages == []
