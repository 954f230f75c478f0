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

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CERTIFICATE = os.path.join(os.path.dirname(__file__), "fixtures", "localhost.pem")
Start = Callable[..., Any]


def post(url: str, body: bytes = b"{}", **headers: str) -> HttpRequest:
    return HttpRequest("POST", url, {"content-type": "application/json"} | headers, body)


def failure(request: HttpRequest, timeouts: Timeouts | None = None, **more: Any) -> LlmctlError:
    """Send the request and read its answer; return what went wrong."""
    with pytest.raises(LlmctlError) as raised, client.open(request, timeouts, **more) as answer:
        answer.read()
    return raised.value


def take(request: HttpRequest, consume: Callable[[bytes], Any], timeouts: Timeouts | None = None) -> None:
    """Send the request and hand its answer to a consumer, chunk by chunk."""
    with client.open(request, timeouts) as answer:
        for chunk in answer.chunks:
            consume(chunk)


# ---------------------------------------------------------------- what goes out and comes back


def test_request_arrives_as_it_was_built(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(HELLO)

    server = peer(script)
    with client.open(post(f"{server.url}/v1/chat?a=b%20c", b'{"a":1}', authorization="Bearer k")) as answer:
        assert answer.read() == b"hello"
    head, _, body = server.heard[0].partition(b"\r\n\r\n")
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
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nX-A: 1\r\nX-A: 2\r\ncontent-length: 4\r\n\r\nbody")

    with client.open(post(peer(script).url)) as answer:
        assert (answer.status, answer.http_version) == (429, "HTTP/1.1")
        assert answer.headers == {"retry-after": "7", "x-a": "1, 2", "content-length": "4"}
        assert answer.read() == b"body"
        assert answer.read() == b""


def test_chunks_come_as_soon_as_they_are_sent(peer: Start) -> None:
    taken = threading.Event()

    def script(talk: Any) -> None:
        talk.hear()
        talk.say(STREAM)
        talk.chunk(b"one")
        assert taken.wait(5)
        talk.chunk(b"two")
        talk.say(b"0\r\n\r\n")

    with client.open(post(peer(script).url)) as answer:
        assert next(answer.chunks) == b"one"
        taken.set()
        assert list(answer.chunks) == [b"two"]


def test_compressed_body_is_decoded(peer: Start) -> None:
    packed = gzip.compress(b"hello")

    def script(talk: Any) -> None:
        talk.hear()
        talk.say(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed)

    with client.open(post(peer(script).url)) as answer:
        assert answer.read() == b"hello"


def test_stream_is_asked_for_uncompressed(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(HELLO)

    server = peer(script)
    with client.open(post(server.url, accept="text/event-stream")) as answer:
        answer.read()
    assert b"accept-encoding: identity\r\n" in server.heard[0].lower()


def test_connection_is_used_again_after_a_whole_answer(peer: Start) -> None:
    def script(talk: Any) -> None:
        for _ in range(2):
            talk.hear()
            talk.say(HELLO)

    server = peer(script)
    for _ in range(2):
        with client.open(post(server.url)) as answer:
            assert answer.read() == b"hello"
    assert (len(server.heard), server.connections) == (2, 1)


def test_reads_are_announced_and_chunks_of_one_read_are_not(peer: Start) -> None:
    said: list[str] = []
    waiting = threading.Event()

    def announce() -> None:
        said.append("read")
        waiting.set()

    def script(talk: Any) -> None:
        talk.hear()
        talk.say(STREAM + b"1\r\na\r\n1\r\nb\r\n")
        assert waiting.wait(5)
        talk.say(b"1\r\nc\r\n1\r\nd\r\n0\r\n\r\n")

    with client.open(post(peer(script).url), before_read=announce) as answer:
        said.extend(chunk.decode() for chunk in answer.chunks)
    assert said == ["a", "b", "read", "c", "d"]


def test_connection_used_again_announces_its_reads_to_the_new_listener_only(peer: Start) -> None:
    waiting = threading.Event()

    def script(talk: Any) -> None:
        for _ in range(3):
            talk.hear()
            talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
            assert waiting.wait(5)
            waiting.clear()
            talk.say(b"hello")

    server = peer(script)
    listeners: dict[int, list[str]] = {}
    for number in range(3):
        listeners[number] = said = []

        def announce(said: list[str] = said) -> None:
            said.append("read")
            waiting.set()

        with client.open(post(server.url), before_read=announce) as answer:
            assert answer.read() == b"hello"
    assert server.connections == 1
    assert listeners == {0: ["read"], 1: ["read"], 2: ["read"]}


# ---------------------------------------------------------------- leaving early


def silent_stream(closed: threading.Event) -> Callable[[Any], None]:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(STREAM)
        talk.chunk(b"one")
        if talk.hung_up():
            closed.set()

    return script


def test_socket_closes_when_the_consumer_leaves(peer: Start) -> None:
    closed = threading.Event()
    with client.open(post(peer(silent_stream(closed)).url)) as answer:
        assert next(answer.chunks) == b"one"
    assert closed.wait(2)


def test_socket_closes_when_only_the_generator_is_closed(peer: Start) -> None:
    closed = threading.Event()
    with client.open(post(peer(silent_stream(closed)).url)) as answer:
        assert next(answer.chunks) == b"one"
        answer.chunks.close()
        assert closed.wait(2)


def test_signal_passes_through_and_closes_the_socket(peer: Start) -> None:
    class Signalled(BaseException):
        pass

    def consume(chunk: bytes) -> None:
        raise Signalled

    closed = threading.Event()
    with pytest.raises(Signalled):
        take(post(peer(silent_stream(closed)).url), consume)
    assert closed.wait(2)


# ---------------------------------------------------------------- bodies that break off


def test_chunked_body_without_its_end_is_cut(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(STREAM)
        talk.chunk(b"one")

    found = []
    server = peer(script)
    with pytest.raises(UnavailableError) as raised, client.open(post(server.url)) as answer:
        found.extend(answer.chunks)
    assert raised.value.reason == "cut"
    assert f"127.0.0.1:{server.port}" in raised.value.message
    with client.open(post(server.url)) as answer:
        assert next(answer.chunks) == b"one"


def test_body_shorter_than_its_length_is_cut(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello")

    assert failure(post(peer(script).url)).reason == "cut"


def test_reset_in_the_body_is_told(peer: Start) -> None:
    sent = threading.Event()

    def script(talk: Any) -> None:
        talk.hear()
        talk.say(STREAM)
        talk.chunk(b"one")
        assert sent.wait(5)
        talk.reset()

    with pytest.raises(UnavailableError) as raised:
        take(post(peer(script).url), lambda chunk: sent.set())
    assert raised.value.reason == "reset"
    assert sent.is_set()


def test_body_that_ends_with_the_connection_is_whole(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(b"HTTP/1.0 200 OK\r\n\r\nhello")

    with client.open(post(peer(script).url)) as answer:
        assert answer.read() == b"hello"


def test_body_that_cannot_be_decompressed_is_told(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello")

    error = failure(post(peer(script).url))
    assert isinstance(error, UnavailableError)
    assert "decompressed" in error.message


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


def test_connection_closed_without_an_answer_is_told(peer: Start) -> None:
    assert failure(post(peer(lambda talk: talk.hear()).url)).reason == "reset"


def test_connection_reset_without_an_answer_is_told(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.reset()

    assert failure(post(peer(script).url)).reason == "reset"


def test_peer_that_speaks_no_http_is_told(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    error = failure(post(peer(script).url))
    assert isinstance(error, UnavailableError)
    assert "does not speak http" in error.message


def test_unknown_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure(post("http://no-such-host.localhost:1/v1"))
    assert (type(error), error.reason) == (UnavailableError, "dns")
    assert 'host "no-such-host.localhost"' in error.message


def test_redirect_is_not_followed(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(b"HTTP/1.1 307 Moved\r\nlocation: https://u:p@elsewhere.example/v1?key=x\r\ncontent-length: 0\r\n\r\n")

    server = peer(script)
    error = failure(post(server.url, authorization="Bearer k"))
    assert (type(error), error.reason, error.status_code) == (UnavailableError, "redirect", 307)
    assert error.message.endswith('redirects to "elsewhere.example"')
    assert not error.retryable
    assert len(server.heard) == 1


# ---------------------------------------------------------------- waiting


def test_silence_before_the_answer_ends(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.hung_up()

    error = failure(post(peer(script).url), Timeouts(first_byte=0.1))
    assert (type(error), error.reason) == (UnavailableError, "timeout")
    assert "within 0.1 s" in error.message


def test_silence_within_the_answer_ends(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(STREAM)
        talk.hung_up()

    error = failure(post(peer(script).url), Timeouts(idle=0.1))
    assert (type(error), error.reason) == (UnavailableError, "timeout")
    assert "for 0.1 s" in error.message


def test_first_byte_may_take_longer_than_later_ones(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        time.sleep(0.3)
        talk.say(HELLO)

    with client.open(post(peer(script).url), Timeouts(first_byte=5, idle=0.1)) as answer:
        assert answer.read() == b"hello"


@pytest.mark.parametrize("head", [STREAM, b"HTTP/1.0 200 OK\r\n\r\n"])
def test_whole_attempt_ends_in_time_though_bytes_keep_coming(peer: Start, head: bytes) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(head)
        while True:
            talk.chunk(b"x")
            time.sleep(0.02)

    begun = time.monotonic()
    error = failure(post(peer(script).url), Timeouts(total=0.3))
    assert (type(error), error.reason) == (UnavailableError, "timeout")
    assert "within 0.3 s" in error.message
    assert 0.25 < time.monotonic() - begun < 2


@pytest.mark.parametrize("head", [b"", STREAM, STREAM + b"1\r\nx\r\n"])
def test_whole_attempt_ends_in_time_wherever_it_stalls(peer: Start, head: bytes) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        time.sleep(0.15)
        talk.say(head)
        talk.hung_up()

    begun = time.monotonic()
    error = failure(post(peer(script).url), Timeouts(total=0.3))
    assert error.reason == "timeout"
    assert 0.25 < time.monotonic() - begun < 2


def test_consumer_that_is_slow_meets_the_deadline_too(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(STREAM)
        talk.chunk(b"one")
        talk.hung_up()

    with pytest.raises(UnavailableError) as raised:
        take(post(peer(script).url), lambda chunk: time.sleep(0.3), Timeouts(total=0.2))
    assert raised.value.reason == "timeout"


def test_answer_that_is_whole_is_no_failure_though_its_consumer_is_slow(peer: Start) -> None:
    def script(talk: Any) -> None:
        talk.hear()
        talk.say(HELLO)

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
    server = peer(lambda talk: talk.hear())
    with pytest.raises(ConfigError) as raised, client.open(post(server.url, authorization=f"Bearer {key}")):
        pass
    shown = "".join(traceback.format_exception(raised.value))
    assert "secret" not in shown.replace("test_header_that_http_forbids", "")
    assert "cret" not in shown
    assert server.heard == []


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
from llmctl.transport import client, tls
try:
    with client.open(HttpRequest("GET", sys.argv[1], {})) as answer:
        print(answer.status, answer.read().decode(), tls.context.cache_info().currsize)
except LlmctlError as error:
    print(type(error).__name__, error.reason, error.retryable, error.message)
"""
CLEAN = {name: value for name, value in os.environ.items() if not name.upper().endswith(("_PROXY", "SSL_CERT_FILE"))}


def get(url: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", GET, url], env=CLEAN | environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def hello(talk: Any) -> None:
    talk.hear()
    talk.say(HELLO)


def test_certificate_nobody_vouches_for_is_refused(peer: Start) -> None:
    found = get(peer(hello, secure=True).url)
    assert found.startswith("UnavailableError tls False the certificate of 127.0.0.1:")


def test_certificate_named_in_the_environment_is_accepted(peer: Start) -> None:
    assert get(peer(hello, secure=True).url, SSL_CERT_FILE=CERTIFICATE) == "200 hello 1"


def test_certificates_that_cannot_be_read_are_told(peer: Start, tmp_path: Any) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    assert get(peer(hello, secure=True).url, SSL_CERT_FILE=str(empty)).startswith("ConfigError")


def test_plain_http_loads_no_certificates(peer: Start) -> None:
    assert get(peer(hello).url) == "200 hello 0"


def test_peer_without_tls_is_told(peer: Start) -> None:
    found = get(peer(lambda talk: talk.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")).url.replace("http:", "https:"))
    assert found.startswith("UnavailableError tls True no secure connection to 127.0.0.1:")


def test_proxy_of_the_environment_is_used_beyond_loopback_only(peer: Start) -> None:
    proxy, server = peer(hello), peer(hello)
    assert get("http://host.example:81/v1", HTTP_PROXY=proxy.url) == "200 hello 0"
    assert proxy.heard[0].startswith(b"GET http://host.example:81/v1 HTTP/1.1\r\n")
    assert get(server.url, HTTP_PROXY=proxy.url) == "200 hello 0"
    assert (len(proxy.heard), len(server.heard)) == (1, 1)


def test_proxy_that_cannot_be_used_is_told() -> None:
    for proxy in ("socks5://127.0.0.1:1", "nonsense://127.0.0.1:1"):
        assert get("http://host.example/v1", HTTP_PROXY=proxy).startswith("ConfigError None False the proxy")


def test_import_leaves_command_lines_alone() -> None:
    unwanted = ["click", "rich", "httpx._main", "asyncio"]
    code = f"import sys, llmctl.transport.client; print([name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
