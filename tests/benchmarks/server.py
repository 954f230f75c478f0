"""A model that answers at once: prepared bytes over loopback, one HTTP chunk an event, as providers send them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


class Server:
    """Serves one stream of ``tokens`` events to any client; ``with Server(20_000) as server``."""

    body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": "hi"}], "stream": True})

    def __init__(self, tokens: int) -> None:
        self._events = list(_events(tokens))
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self.url = f"{self.base_url}/chat/completions"

    def __enter__(self) -> Server:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def connect(self, hub: str, env: Mapping[str, str]) -> None:
        """Make a hub with a connection ``bench`` to this server."""
        command = [sys.executable, "-m", "llmctl", "connection", "add", "bench"]
        options = ["--base-url", self.base_url, "--model", "bench"]
        subprocess.run([*command, *options], env={**env, "LLMCTL_DB": hub}, check=True, capture_output=True)

    def describe_to_llm(self, home: Path) -> None:
        """Tell llm of this server, in the file it reads."""
        home.mkdir(exist_ok=True)
        entry = {"model_id": "bench", "model_name": "bench", "api_base": self.base_url}
        (home / "extra-openai-models.yaml").write_text(json.dumps([entry]))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while _read_request(connection):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                for event in self._events:
                    connection.sendall(event)


def _events(tokens: int) -> list[bytes]:
    pieces: list[dict[str, Any]] = [
        {"delta": {"content": f"tok{number} "}, "finish_reason": None} for number in range(tokens)
    ]
    pieces.append({"delta": {}, "finish_reason": "stop"})
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "bench"}
    documents = [common | {"choices": [{"index": 0, "logprobs": None, **piece}]} for piece in pieces]
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
    lines = [json.dumps(document) for document in [*documents, common | {"choices": [], "usage": usage}]]
    frames = [f"data: {line}\n\n".encode() for line in [*lines, "[DONE]"]]
    return [b"%x\r\n%s\r\n" % (len(frame), frame) for frame in frames] + [b"0\r\n\r\n"]


def _read_request(connection: socket.socket) -> bool:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65536)):
            return False
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(found[1]) if (found := re.search(rb"content-length: (\d+)", head.lower())) else 0
    while len(body) < length:
        body += connection.recv(65536)
    return True
