"""How fast ``llmctl map`` is: rows a second, CPU a row, memory and resume.

    python -m tests.benchmarks.bulk [--rows 5000] [--memory-rows 100000] [--promptfoo]

``echo`` answers in the process; the loopback server answers at once, or after 200 ms. ``--promptfoo`` installs
promptfoo with npm in a temporary folder (1.9 GB) and runs it on 500 of the same rows with the same server.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.timing import clean_env, load, used

_TEXT = "one of the sentences that people write about what they have bought " * 5
_LLMCTL = [sys.executable, "-m", "llmctl"]
_PROMPT = "Is this positive? {{ text }}"
_MIN_ROWS_A_SECOND = 500
_MAX_CPU_MS = 2.0
_ANSWER = {
    "id": "a", "object": "chat.completion", "model": "bench",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes, it is"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 70, "completion_tokens": 4, "total_tokens": 74},
}  # fmt: skip


class AnswerServer:
    """Gives every request the same whole answer, after a delay."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        body = json.dumps(_ANSWER).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._reply = head.encode() + body
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            while line := reader.readline():
                length = 0
                while line not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                    line = reader.readline()
                reader.read(length)
                if self._delay_s:
                    time.sleep(self._delay_s)
                connection.sendall(self._reply)


def write_rows(path: Path, count: int) -> str:
    with path.open("w") as file:
        file.writelines(f"{json.dumps({'n': number, 'text': f'{number} {_TEXT}'})}\n" for number in range(count))
    return str(path)


def measure(name: str, rows: int, command: Sequence[str], env: Mapping[str, str]) -> tuple[float, float, float]:
    """Run a map; print and return rows a second, CPU milliseconds a row, and megabytes, start-up taken off."""
    start = used([*_LLMCTL, "--version"], env)
    found = used(command, env)
    seconds, cpu = found.seconds - start.seconds, found.cpu_seconds - start.cpu_seconds
    print(f"{name:36} {rows / seconds:8.0f} rows/s {cpu / rows * 1000:7.2f} ms CPU a row {found.megabytes:7.0f} MB")
    return rows / seconds, cpu / rows * 1000, found.megabytes


def connect(name: str, server: AnswerServer, env: Mapping[str, str]) -> None:
    words = ["connection", "add", name, "--base-url", server.url, "--model", "bench"]
    subprocess.run([*_LLMCTL, *words], env=dict(env), check=True, capture_output=True, stdin=subprocess.DEVNULL)


def run_promptfoo(folder: Path, rows: int, server: AnswerServer) -> None:
    """Run promptfoo on the rows with the server."""
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "promptfoo@0.121"], cwd=folder, check=True)
    config = {
        "prompts": [_PROMPT],
        "providers": [{"id": "openai:chat:bench", "config": {"apiBaseUrl": server.url, "apiKey": "key"}}],
        "tests": [{"vars": {"text": f"{number} {_TEXT}"}} for number in range(rows)],
    }
    (folder / "promptfooconfig.json").write_text(json.dumps(config))
    words = ["npx", "promptfoo", "eval", "-c", "promptfooconfig.json", "-j", "20", "--no-cache", "--no-table"]
    env = {**os.environ, "PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1"}
    began = time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, capture_output=True, env=env)
    print(f"{'promptfoo, server at once':36} {rows / (time.perf_counter() - began):8.0f} rows/s")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--memory-rows", type=int, default=100_000)
    parser.add_argument("--promptfoo", action="store_true")
    chosen = parser.parse_args()
    print(load())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = clean_env(folder)
        fast, slow = AnswerServer(0.0), AnswerServer(0.2)
        connect("fast", fast, env)
        connect("slow", slow, env)
        table, out = write_rows(folder / "in.jsonl", chosen.rows), ["--output", str(folder / "out.jsonl")]
        words = [*_LLMCTL, "map", table, _PROMPT, *out]
        speed, cpu, little = measure("echo", chosen.rows, [*words, "-m", "echo"], env)
        part = min(chosen.rows, 500)
        measure("server at once", part, [*words, "-m", "fast", "-P", "20", "--limit", str(part)], env)
        measure("server after 200 ms, auto", part, [*words, "-m", "slow", "--limit", str(part)], env)
        if chosen.promptfoo:
            run_promptfoo(folder, part, fast)
        if chosen.memory_rows:
            table = write_rows(folder / "many.jsonl", chosen.memory_rows)
            words = [*_LLMCTL, "map", table, _PROMPT, "--output", str(folder / "many.out")]
            _, _, much = measure(f"echo, {chosen.memory_rows:,} rows", chosen.memory_rows, [*words, "-m", "echo"], env)
            print(f"memory: {much / little:.2f} x that of {chosen.rows:,} rows")
        return 0 if speed >= _MIN_ROWS_A_SECOND and cpu <= _MAX_CPU_MS else 1


if __name__ == "__main__":
    sys.exit(main())
