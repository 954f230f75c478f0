"""One HTTP attempt against a peer that does what servers, proxies and networks do."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from llmctl.core.errors import ConfigError, LlmctlError, UnavailableError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.transport import client
from llmctl.transport.client import Timeouts
from tests.fakes.peer import CERTIFICATE, Connection
from tests.harness import ROOT, TIMEOUT_S

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
Start = Callable[..., Any]


def post(url: str, body: bytes = b"{}", **headers: str) -> HttpRequest:
    return HttpRequest("POST", url, {"content-type": "application/json"} | headers, body)


def failure(request: HttpRequest, timeouts: Timeouts | None = None, **more: Any) -> LlmctlError:
    """Send the request and read its answer; return what went wrong."""
    with pytest.raises(LlmctlError) as raised, client.send_request(request, timeouts, **more) as answer:
        answer.read()
    return raised.value


def take(request: HttpRequest, consume: Callable[[bytes], Any], timeouts: Timeouts | None = None) -> None:
    """Send the request and hand its answer to a consumer, chunk by chunk."""
    with client.send_request(request, timeouts) as answer:
        for chunk in answer.chunks:
            consume(chunk)


# ---------------------------------------------------------------- what goes out and comes back


def test_request_arrives_as_it_was_built(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(HELLO)

    server = peer(script)
    with client.send_request(post(f"{server.url}/v1/chat?a=b%20c", b'{"a":1}', authorization="Bearer k")) as answer:
        assert answer.read() == b"hello"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat?a=b%20c HTTP/1.1\r\n")
    for line in (
        b"authorization: Bearer k",
        b"content-type: application/json",
        b"content-length: 7",
        b"user-agent: llmctl",
    ):
        assert line in head.lower() or line in head
    assert body == b'{"a":1}'


def test_answer_has_status_headers_and_body(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(
            b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nX-A: 1\r\nX-A: 2\r\ncontent-length: 4\r\n\r\nbody"
        )

    with client.send_request(post(peer(script).url)) as answer:
        assert (answer.status, answer.http_version) == (429, "HTTP/1.1")
        assert answer.headers == {"retry-after": "7", "x-a": "1, 2", "content-length": "4"}
        assert answer.read() == b"body"
        assert answer.read() == b""


def test_chunks_come_as_soon_as_they_are_sent(peer: Start) -> None:
    taken = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(STREAM)
        connection.send_chunk(b"one")
        assert taken.wait(TIMEOUT_S)
        connection.send_chunk(b"two")
        connection.send(b"0\r\n\r\n")

    with client.send_request(post(peer(script).url)) as answer:
        assert next(answer.chunks) == b"one"
        taken.set()
        assert list(answer.chunks) == [b"two"]


def test_compressed_body_is_decoded(peer: Start) -> None:
    packed = gzip.compress(b"hello")

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed
        )

    with client.send_request(post(peer(script).url)) as answer:
        assert answer.read() == b"hello"


def test_stream_is_asked_for_uncompressed(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(HELLO)

    server = peer(script)
    with client.send_request(post(server.url, accept="text/event-stream")) as answer:
        answer.read()
    assert b"accept-encoding: identity\r\n" in server.requests[0].lower()


def test_connection_is_used_again_after_a_whole_answer(peer: Start) -> None:
    def script(connection: Connection) -> None:
        for _ in range(2):
            connection.read_request()
            connection.send(HELLO)

    server = peer(script)
    for _ in range(2):
        with client.send_request(post(server.url)) as answer:
            assert answer.read() == b"hello"
    assert (len(server.requests), server.connections) == (2, 1)


def test_reads_are_announced_and_chunks_of_one_read_are_not(peer: Start) -> None:
    said: list[str] = []
    waiting = threading.Event()

    def announce() -> None:
        said.append("read")
        waiting.set()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(STREAM + b"1\r\na\r\n1\r\nb\r\n")
        assert waiting.wait(TIMEOUT_S)
        connection.send(b"1\r\nc\r\n1\r\nd\r\n0\r\n\r\n")

    with client.send_request(post(peer(script).url), before_read=announce) as answer:
        said.extend(chunk.decode() for chunk in answer.chunks)
    assert said == ["a", "b", "read", "c", "d"]


def test_connection_used_again_announces_its_reads_to_the_new_listener_only(peer: Start) -> None:
    waiting = threading.Event()

    def script(connection: Connection) -> None:
        for _ in range(3):
            connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
            assert waiting.wait(TIMEOUT_S)
            waiting.clear()
            connection.send(b"hello")

    server = peer(script)
    listeners: dict[int, list[str]] = {}
    for number in range(3):
        listeners[number] = events = list[str]()

        def announce(events: list[str] = events) -> None:
            events.append("read")
            waiting.set()

        with client.send_request(post(server.url), before_read=announce) as answer:
            assert answer.read() == b"hello"
    assert server.connections == 1
    assert listeners == {0: ["read"], 1: ["read"], 2: ["read"]}


# ---------------------------------------------------------------- leaving early


def silent_stream(closed: threading.Event) -> Callable[[Any], None]:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(STREAM)
        connection.send_chunk(b"one")
        if connection.wait_for_close():
            closed.set()

    return script


def test_socket_closes_when_the_consumer_leaves(peer: Start) -> None:
    closed = threading.Event()
    with client.send_request(post(peer(silent_stream(closed)).url)) as answer:
        assert next(answer.chunks) == b"one"
    assert closed.wait(TIMEOUT_S)


def test_socket_closes_when_only_the_generator_is_closed(peer: Start) -> None:
    closed = threading.Event()
    with client.send_request(post(peer(silent_stream(closed)).url)) as answer:
        assert next(answer.chunks) == b"one"
        answer.chunks.close()  # type: ignore[attr-defined]
        assert closed.wait(TIMEOUT_S)


def test_signal_passes_through_and_closes_the_socket(peer: Start) -> None:
    class Signalled(BaseException):
        pass

    def consume(chunk: bytes) -> None:
        raise Signalled

    closed = threading.Event()
    with pytest.raises(Signalled):
        take(post(peer(silent_stream(closed)).url), consume)
    assert closed.wait(TIMEOUT_S)


# ---------------------------------------------------------------- bodies that break off


def test_chunked_body_without_its_end_is_cut(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(STREAM)
        connection.send_chunk(b"one")

    found: list[bytes] = []
    server = peer(script)
    with pytest.raises(UnavailableError) as raised, client.send_request(post(server.url)) as answer:
        found.extend(answer.chunks)
    assert raised.value.reason == "cut"
    assert f"127.0.0.1:{server.port}" in raised.value.message
    with client.send_request(post(server.url)) as answer:
        assert next(answer.chunks) == b"one"


def test_body_shorter_than_its_length_is_cut(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello")

    assert failure(post(peer(script).url)).reason == "cut"


def test_reset_in_the_body_is_an_error(peer: Start) -> None:
    sent = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(STREAM)
        connection.send_chunk(b"one")
        assert sent.wait(TIMEOUT_S)
        connection.reset()

    with pytest.raises(UnavailableError) as raised:
        take(post(peer(script).url), lambda chunk: sent.set())
    assert raised.value.reason == "reset"
    assert sent.is_set()


def test_body_that_ends_with_the_connection_is_whole(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.0 200 OK\r\n\r\nhello")

    with client.send_request(post(peer(script).url)) as answer:
        assert answer.read() == b"hello"


def test_body_that_cannot_be_decompressed_is_an_error(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello")

    error = failure(post(peer(script).url))
    assert isinstance(error, UnavailableError)
    assert "decompress" in error.message


# ---------------------------------------------------------------- no answer at all


def test_refused_connection_names_host_and_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure(post(f"http://127.0.0.1:{port}/v1?key=sk-1234567890abcdef"))
    assert isinstance(error, UnavailableError)
    assert error.reason == "refused"
    assert f"127.0.0.1:{port}" in error.message
    assert "sk-" not in error.message
    assert error.retryable


def test_connection_closed_without_an_answer_is_an_error(peer: Start) -> None:
    assert failure(post(peer(lambda connection: connection.read_request()).url)).reason == "reset"


def test_connection_reset_without_an_answer_is_an_error(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.reset()

    assert failure(post(peer(script).url)).reason == "reset"


def test_server_that_speaks_no_http_is_an_error(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    error = failure(post(peer(script).url))
    assert isinstance(error, UnavailableError)
    assert "does not speak HTTP" in error.message


def test_unknown_host_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure(post("http://no-such-host.localhost:1/v1"))
    assert (type(error), error.reason) == (UnavailableError, "dns")
    assert 'host "no-such-host.localhost"' in error.message


def test_redirect_is_not_followed(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(
            b"HTTP/1.1 307 Moved\r\nlocation: https://u:p@elsewhere.example/v1?key=x\r\ncontent-length: 0\r\n\r\n"
        )

    server = peer(script)
    error = failure(post(server.url, authorization="Bearer k"))
    assert (type(error), error.reason, error.status_code) == (UnavailableError, "redirect", 307)
    assert error.message.endswith('redirects to "elsewhere.example"')
    assert not error.retryable
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["http://[", "//[::1", "https://[x]/", "http://a b/", "%", "http://x:99999/"])
def test_redirect_to_an_invalid_url_is_refused_like_any_other(peer: Start, location: str) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode())

    error = failure(post(peer(script).url))
    assert type(error) is UnavailableError
    assert error.reason in ("redirect", "network")  # httpx refuses some itself


# ---------------------------------------------------------------- waiting


def test_silence_before_the_answer_ends(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for_close()

    error = failure(post(peer(script).url), Timeouts(first_byte=0.1))
    assert (type(error), error.reason) == (UnavailableError, "timeout")
    assert "within 0.1 s" in error.message


def test_silence_within_the_answer_ends(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(STREAM)
        connection.wait_for_close()

    error = failure(post(peer(script).url), Timeouts(idle=0.1))
    assert (type(error), error.reason) == (UnavailableError, "timeout")
    assert "for 0.1 s" in error.message


def test_first_byte_may_take_longer_than_later_ones(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        time.sleep(0.3)
        connection.send(HELLO)

    with client.send_request(post(peer(script).url), Timeouts(first_byte=TIMEOUT_S, idle=0.1)) as answer:
        assert answer.read() == b"hello"


@pytest.mark.parametrize("head", [STREAM, b"HTTP/1.0 200 OK\r\n\r\n"])
def test_whole_attempt_ends_in_time_though_bytes_keep_coming(peer: Start, head: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(head)
        while True:
            connection.send_chunk(b"x")
            time.sleep(0.02)

    begun = time.monotonic()
    error = failure(post(peer(script).url), Timeouts(total=0.3))
    assert (type(error), error.reason) == (UnavailableError, "timeout")
    assert "within 0.3 s" in error.message
    assert time.monotonic() - begun > 0.25


@pytest.mark.parametrize("head", [b"", STREAM, STREAM + b"1\r\nx\r\n"])
def test_whole_attempt_ends_in_time_wherever_it_stalls(peer: Start, head: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        time.sleep(0.15)
        connection.send(head)
        connection.wait_for_close()

    begun = time.monotonic()
    error = failure(post(peer(script).url), Timeouts(total=0.3))
    assert error.reason == "timeout"
    assert time.monotonic() - begun > 0.25


def test_consumer_that_is_slow_meets_the_deadline_too(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(STREAM)
        connection.send_chunk(b"one")
        connection.wait_for_close()

    with pytest.raises(UnavailableError) as raised:
        take(post(peer(script).url), lambda chunk: time.sleep(0.3), Timeouts(total=0.2))
    assert raised.value.reason == "timeout"


def test_answer_that_is_whole_is_no_failure_though_its_consumer_is_slow(peer: Start) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(HELLO)

    taken: list[bytes] = []

    def consume(chunk: bytes) -> None:
        taken.append(chunk)
        time.sleep(0.3)

    take(post(peer(script).url), consume, Timeouts(total=0.2))
    assert taken == [b"hello"]


# ---------------------------------------------------------------- what is refused before anything is sent


def test_nothing_beyond_loopback_is_reached_offline() -> None:
    for url in (
        "https://api.example.com/v1",
        "http://10.0.0.1/",
        "http://[2001:db8::1]:80/",
        "http://localhost.example/",
    ):
        error = failure(post(url), loopback_only=True)
        assert (type(error), error.reason, error.retryable) == (UnavailableError, "offline", False)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("api.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("0.0.0.0", False),
        ("192.168.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_known_without_asking(host: str, local: bool) -> None:
    assert client.is_loopback(host) is local


@pytest.mark.parametrize("key", ["sk-secret\nx", "sk-sécret", "sk-secret\r\nx-evil: 1"])
def test_header_that_http_forbids_is_refused_without_showing_it(peer: Start, key: str) -> None:
    server = peer(lambda connection: connection.read_request())
    with pytest.raises(ConfigError) as raised, client.send_request(post(server.url, authorization=f"Bearer {key}")):
        pass
    shown = "".join(traceback.format_exception(raised.value))
    assert "secret" not in shown.replace("test_header_that_http_forbids", "")
    assert "cret" not in shown
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["", "/v1", "h.example/v1", "ftp://h.example", "http://", "http://h:port/", "http://[::1/"]
)
def test_address_that_is_none_is_refused(url: str) -> None:
    assert type(failure(post(url))) is UsageError


# ---------------------------------------------------------------- TLS, proxies, start-up: in processes of their own

GET = """
import sys
from llmctl.core.errors import LlmctlError
from llmctl.core.http import HttpRequest
from llmctl.transport import client
try:
    with client.send_request(HttpRequest("GET", sys.argv[1], {})) as answer:
        print(answer.status, answer.read().decode(), client.get_tls_context.cache_info().currsize)
except LlmctlError as error:
    print(type(error).__name__, error.reason, error.retryable, error.message)
"""
CLEAN = {name: value for name, value in os.environ.items() if not name.upper().endswith(("_PROXY", "SSL_CERT_FILE"))}


def get(url: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", GET, url], env=CLEAN | environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def hello(connection: Connection) -> None:
    connection.read_request()
    connection.send(HELLO)


def test_untrusted_certificate_is_refused(peer: Start) -> None:
    found = get(peer(hello, secure=True).url)
    assert found.startswith("UnavailableError tls False cannot verify the certificate of 127.0.0.1:")


def test_certificate_named_in_the_environment_is_accepted(peer: Start) -> None:
    assert get(peer(hello, secure=True).url, SSL_CERT_FILE=CERTIFICATE) == "200 hello 1"


def test_unreadable_certificates_are_an_error(peer: Start, tmp_path: Any) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    assert get(peer(hello, secure=True).url, SSL_CERT_FILE=str(empty)).startswith("ConfigError")


def test_plain_http_loads_no_certificates(peer: Start) -> None:
    assert get(peer(hello).url) == "200 hello 0"


def test_server_without_tls_is_an_error(peer: Start) -> None:
    found = get(
        peer(lambda connection: connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")).url.replace("http:", "https:")
    )
    assert found.startswith("UnavailableError tls True no secure connection to 127.0.0.1:")


def test_proxy_of_the_environment_is_used_beyond_loopback_only(peer: Start) -> None:
    proxy, server = peer(hello), peer(hello)
    assert get("http://host.example:81/v1", HTTP_PROXY=proxy.url) == "200 hello 0"
    assert proxy.requests[0].startswith(b"GET http://host.example:81/v1 HTTP/1.1\r\n")
    assert get(server.url, HTTP_PROXY=proxy.url) == "200 hello 0"
    assert (len(proxy.requests), len(server.requests)) == (1, 1)


def test_unusable_proxy_is_an_error() -> None:
    for proxy in ("socks5://127.0.0.1:1", "nonsense://127.0.0.1:1"):
        assert get("http://host.example/v1", HTTP_PROXY=proxy).startswith("ConfigError None False cannot use the proxy")


def test_import_leaves_command_lines_alone() -> None:
    unwanted = ["click", "rich", "httpx._main", "asyncio"]
    code = f"import sys, llmctl.transport.client; print([name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
