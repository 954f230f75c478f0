"""Discovery: keys in the environment, and working and broken servers on this machine."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llmctl.engine.connections.discovery import discover, from_environment, pick_chat_model
from tests.harness import TIMEOUT_S, wait_until

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

MODELS = {"object": "list", "data": [{"id": "nomic-embed-text"}, {"id": "qwen3:8b"}, {"id": "llama3"}]}


@contextmanager
def http_server(answer: Any = MODELS, *, status: int = 200, key: Any = None) -> Iterator[tuple[Any, ...]]:
    """Run a server that lists models at /v1/models; yield its port and the requests it got."""
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            known = self.path == "/v1/models" and (key is None or seen[-1][1] == f"Bearer {key}")
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: str) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def socket_server(behave: Any) -> Iterator[Any]:
    """Run a server of bytes: ``behave`` gets each connection, and the event that says when to stop."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                behave(connection, stop)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def silent(connection: socket.socket, stop: threading.Event) -> None:
    stop.wait(TIMEOUT_S)


def drip(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not stop.wait(0.01):
        connection.sendall(b" ")


def endless(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"data":[')
    while not stop.is_set():
        connection.sendall(b'{"id":"x"},' * 100)


def never_a_head(connection: socket.socket, stop: threading.Event) -> None:
    while not stop.wait(0.01):
        connection.sendall(b"x")


def says(*answers: Any) -> Callable[..., Any]:
    def behave(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(65536)
        for answer in answers:
            connection.sendall(answer)

    return behave


def free_port() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# Servers


def test_server_is_found_with_its_first_chat_model() -> None:
    with http_server() as (port, seen):
        (found,) = discover({}, timeout_s=TIMEOUT_S, ports={"ollama": port})
    assert (found.name, found.provider, found.model, found.key_env) == ("ollama", "ollama", "qwen3:8b", None)
    assert found.base_url == f"http://localhost:{port}/v1"
    assert found.base_url in found.reason
    assert seen == [("/v1/models", None)]


def test_servers_are_found_in_order_next_to_dead_ports() -> None:
    with http_server() as (first, _), http_server({"object": "list", "data": [{"id": "only"}]}) as (second, _):
        ports = {"ollama": free_port(), "lmstudio": first, "llamacpp": free_port(), "vllm": second}
        found = discover({}, timeout_s=TIMEOUT_S, ports=ports)
    assert [(each.name, each.model) for each in found] == [("lmstudio", "qwen3:8b"), ("vllm", "only")]


@pytest.mark.parametrize("data", [[], None, [{"id": "bge-m3"}], [{"name": "x"}, 3, {"id": 4}, {"id": "\x1b[31m"}]])
def test_server_without_chat_models_is_found_without_model(data: list[Any] | None) -> None:
    with http_server({"object": "list", "data": data}) as (port, _):
        (found,) = discover({}, timeout_s=TIMEOUT_S, ports={"ollama": port})
    assert found.model is None


def test_server_gets_the_key_that_is_set_for_it() -> None:
    with http_server(key="secret") as (port, _):
        assert discover({}, timeout_s=TIMEOUT_S, ports={"vllm": port}) == []
        (found,) = discover({"VLLM_API_KEY": "secret"}, timeout_s=TIMEOUT_S, ports={"vllm": port})
    assert found.key_env == "VLLM_API_KEY"


def test_server_never_gets_the_key_of_another_provider() -> None:
    with http_server() as (port, seen):
        discover(
            {"OPENAI_API_KEY": "sk-o", "OLLAMA_API_KEY": "a\r\nX-Evil: 1"}, timeout_s=TIMEOUT_S, ports={"ollama": port}
        )
    assert seen == [("/v1/models", None)]


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"models":[]}', b'{"data":{}}', b"[" * 100_000, b"\xff", b""])
def test_server_of_another_kind_is_passed_over(answer: bytes) -> None:
    with http_server(answer) as (port, _):
        assert discover({}, timeout_s=TIMEOUT_S, ports={"vllm": port}) == []


@pytest.mark.parametrize("status", [401, 404, 500, 302])
def test_server_that_refuses_is_passed_over(status: int) -> None:
    with http_server(status=status) as (port, _):
        assert discover({}, timeout_s=TIMEOUT_S, ports={"vllm": port}) == []


@pytest.mark.parametrize("answer", [b"", b"\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_server_of_no_http_is_passed_over(answer: bytes) -> None:
    with socket_server(says(answer)) as port:
        assert discover({}, timeout_s=TIMEOUT_S, ports={"vllm": port}) == []


@pytest.mark.parametrize("behave", [silent, drip, endless, never_a_head], ids=lambda behave: behave.__name__)
def test_server_that_never_ends_is_left_in_time(behave: Any) -> None:
    with socket_server(behave) as port:
        before = threading.active_count()
        assert discover({}, ports={"vllm": port}) == []  # returns while the server is still sending
        wait_until(lambda: threading.active_count() <= before)  # no thread keeps listening


def test_name_service_that_hangs_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*address: Any, **options: Any) -> None:
        released.wait(TIMEOUT_S)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    finished: list[object] = []
    waiting = threading.Thread(target=lambda: finished.append(discover({}, ports={"vllm": 1})))
    waiting.start()
    waiting.join(TIMEOUT_S / 2)
    released.set()
    assert finished == [[]]


def test_servers_are_asked_in_parallel_and_bad_ones_hide_no_good_one() -> None:
    everyone = threading.Barrier(3)

    def meet(connection: socket.socket, stop: threading.Event) -> None:
        everyone.wait(TIMEOUT_S)  # in turn, the first one would wait for the others until its time is up

    with (
        socket_server(meet) as a,
        socket_server(meet) as b,
        socket_server(meet) as c,
        http_server() as (good, _),
    ):
        ports = {"ollama": a, "lmstudio": b, "llamacpp": c, "vllm": good}
        found = discover({"OPENAI_API_KEY": "k"}, timeout_s=TIMEOUT_S, ports=ports)
    assert not everyone.broken
    assert [each.name for each in found] == ["openai", "vllm"]


def test_nothing_there_is_found_out_at_once() -> None:
    assert discover({}, timeout_s=TIMEOUT_S, ports={"vllm": free_port()}) == []


def test_answer_in_pieces_without_length_is_read_to_its_end() -> None:
    head, body = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n", json.dumps(MODELS).encode()
    with socket_server(says(head, body[:10], body[10:])) as port:
        (found,) = discover({}, timeout_s=TIMEOUT_S, ports={"vllm": port})
    assert found.model == "qwen3:8b"


def test_server_that_keeps_the_connection_open_is_not_waited_for() -> None:
    body = json.dumps(MODELS).encode()

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        stop.wait(TIMEOUT_S)

    with socket_server(behave) as port:
        (found,) = discover({}, timeout_s=TIMEOUT_S, ports={"vllm": port})
    assert found.model == "qwen3:8b"


# Variables that say where a server is


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OLLAMA_API_BASE", "http://localhost:{port}/v1"),
        ("OLLAMA_API_BASE", "http://127.0.0.1:{port}/"),
        ("OLLAMA_HOST", "127.0.0.1:{port}"),
        ("OLLAMA_HOST", "0.0.0.0:{port}"),
        ("OLLAMA_HOST", ":{port}"),
        ("OLLAMA_HOST", "http://localhost:{port}/"),
        ("LM_STUDIO_API_BASE", "http://localhost:{port}/v1"),
        ("VLLM_API_BASE", "http://localhost:{port}"),
    ],
)
def test_variable_of_a_local_server_is_followed(variable: str, value: str) -> None:
    with http_server() as (port, seen):
        found = discover({variable: value.format(port=port)}, timeout_s=TIMEOUT_S)
    assert ("/v1/models", None) in seen
    assert any(f":{port}/v1" in each.base_url for each in found)


@pytest.mark.parametrize("variable", ["OLLAMA_API_BASE", "OLLAMA_HOST"])
@pytest.mark.parametrize("value", ["http://192.0.2.1:{port}", "http://ollama.example:{port}/v1", "https://[bad"])
def test_variable_that_leads_off_this_machine_is_not_followed(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    connect = socket.create_connection
    monkeypatch.setattr(
        socket,
        "create_connection",
        lambda place, *rest, **options: asked.append(place) or connect(place, *rest, **options),
    )
    discover({variable: value.format(port=free_port())})
    assert {host for host, _ in asked} == {"localhost"}
    assert ("localhost", 11434) in asked


# Keys in the environment


def test_environment_gives_the_first_set_variable_of_each_provider() -> None:
    env = {"OPENAI_API_KEY": "a", "HF_TOKEN": "b", "HUGGINGFACE_API_KEY": " ", "XAI_API_KEY": "", "OTHER_KEY": "c"}
    found = from_environment(env)
    assert [(each.name, each.key_env) for each in found] == [
        ("openai", "OPENAI_API_KEY"),
        ("huggingface", "HF_TOKEN"),
    ]
    assert found[0].base_url == "https://api.openai.com/v1"
    assert found[0].model
    assert "OPENAI_API_KEY" in found[0].reason
    assert not any(value in repr(found) for value in ("'a'", "'b'"))


def test_environment_follows_the_base_variable() -> None:
    (found,) = from_environment({"OPENAI_API_KEY": "a", "OPENAI_BASE_URL": "https://proxy.example/v1"})
    assert found.base_url == "https://proxy.example/v1"
    assert "OPENAI_BASE_URL" in found.reason


def test_environment_names_azure_only_with_its_address() -> None:
    assert from_environment({"AZURE_OPENAI_API_KEY": "a"}) == []
    (found,) = from_environment({"AZURE_OPENAI_API_KEY": "a", "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/"})
    assert (found.name, found.model) == ("azure", None)


def test_environment_names_no_local_server() -> None:
    assert from_environment({"OLLAMA_API_KEY": "a", "LM_API_TOKEN": "b"}) == []


@pytest.mark.parametrize(
    ("models", "picked"),
    [
        (["text-embedding-nomic-v1.5", "openai/gpt-oss-20b"], "openai/gpt-oss-20b"),
        (["BAAI/bge-m3", "intfloat/e5-large", "Qwen3-Reranker-4B", "whisper-1", "gemma3:4b"], "gemma3:4b"),
        (["mxbai-embed-large"], None),
        ([], None),
    ],
)
def test_pick_chat_model_passes_over_other_kinds(models: list[Any], picked: str | None) -> None:
    assert pick_chat_model(models) == picked
