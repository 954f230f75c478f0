"""A server that has llmctl's modules loaded and forks a real process for each command: several times faster.

``python -m tests.fork_server SOCKET`` waits for requests, one a connection: JSON with argv, env and cwd, and the three
file descriptors of the process. It forks, and answers with the exit status as ``subprocess`` has it (negative: a
signal). Used by ``harness.py`` only.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

#: Modules that most commands load.
_PRELOADED = (
    *(
        "llmctl.cli.main",
        "llmctl.cli.command_tree",
        "llmctl.cli.console.table",
        "llmctl.cli.turn.chat",
        "llmctl.cli.listing_args",
    ),
    *("llmctl.engine.turn.turn", "llmctl.wire.openai_chat", "llmctl.providers.echo", "llmctl.store.writer"),
)
_MAX_REQUEST_BYTES = 1 << 20


def serve(path: str) -> None:
    """Fork a process for each request, until the socket's folder is deleted or stdin ends."""
    for name in _PRELOADED:
        __import__(name)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is listener:
                    _start_child(listener.accept()[0], selector)
                else:
                    _finish_child(key, selector)


def _start_child(connection: socket.socket, selector: selectors.BaseSelector) -> None:
    data, fds, _, _ = socket.recv_fds(connection, _MAX_REQUEST_BYTES, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(_MAX_REQUEST_BYTES)
    pid = os.fork()
    if pid == 0:
        selector.close()
        connection.close()
        _run_child(json.loads(data), fds)
    for fd in fds:
        os.close(fd)
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))


def _run_child(request: dict[str, Any], fds: Sequence[int]) -> None:
    """Run llmctl in the forked child; this does not return."""
    for fd, wanted in zip(fds, (0, 1, 2), strict=True):
        os.dup2(fd, wanted)
    os.closerange(3, 256)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.argv = ["llmctl", *request["argv"]]
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    from llmctl._fastpath import main

    try:
        main()
    finally:
        os._exit(70)


def _finish_child(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
    pid, connection = key.data
    selector.unregister(key.fileobj)
    os.close(key.fd)
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    connection.close()


class ForkServer:
    """The client of the server; starts it."""

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/server"
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        command = [sys.executable, "-m", "tests.fork_server", self._path]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        assert self._server.stdout
        assert self._server.stdout.readline() == b"ready\n"

    def run(
        self, argv: Sequence[str], *, input: bytes | None, env: Mapping[str, str], cwd: str, timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``llmctl ARGV`` to its end, as ``subprocess.run(capture_output=True)`` would; None is /dev/null."""
        stdin, to_child = (os.open(os.devnull, os.O_RDONLY), -1) if input is None else os.pipe()
        from_out, stdout = os.pipe()
        from_err, stderr = os.pipe()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._path)
            request = json.dumps({"argv": list(argv), "env": dict(env), "cwd": cwd}).encode() + b"\n"
            sent = socket.send_fds(connection, [request], [stdin, stdout, stderr])
            connection.sendall(request[sent:])
            for fd in (stdin, stdout, stderr):
                os.close(fd)
            outputs = _exchange(input or b"", to_child, (from_out, from_err), time.monotonic() + timeout)
            connection.settimeout(timeout)
            code = int(connection.recv(16))
        return subprocess.CompletedProcess(["llmctl", *argv], code, *outputs)

    def stop(self) -> None:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


@cache
def get_fork_server() -> ForkServer:
    """Return the server of this test process; it ends with it."""
    folder = tempfile.mkdtemp(prefix="llmctl-")  # short: a socket's path has to be
    running = ForkServer(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(running.stop)
    return running


def can_fork(env: Mapping[str, str], argv: Sequence[str | bytes]) -> bool:
    """Return whether a forked child is the same as a fresh process: Python reads some variables only at start-up."""
    own = {name for name in env if name.startswith(("PYTHON", "LC_", "LANG")) and name != "PYTHONPATH"}
    plain = all(isinstance(word, str) and word.isprintable() for word in argv)
    has_more_paths = os.pathsep in env.get("PYTHONPATH", "")  # packages that the server does not see
    return plain and not has_more_paths and all(env[name] == os.environ.get(name) for name in own)


def _exchange(data: bytes, to_child: int, from_child: Sequence[int], deadline: float) -> list[bytes]:
    """Write the input and read both outputs until they end; raise TimeoutError where that takes too long."""
    outputs: dict[int, bytearray] = {fd: bytearray() for fd in from_child}
    rest = memoryview(data)
    with selectors.DefaultSelector() as selector:
        if to_child >= 0:
            os.set_blocking(to_child, False)
            selector.register(to_child, selectors.EVENT_WRITE)
        for fd in from_child:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() > deadline:
                raise TimeoutError("llmctl did not end")
            for key, _ in selector.select(1):
                if key.fd == to_child:
                    rest = _write(to_child, rest)
                    is_open = bool(rest)
                else:
                    piece = os.read(key.fd, 65536)
                    outputs[key.fd] += piece
                    is_open = bool(piece)
                if not is_open:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return [bytes(outputs[fd]) for fd in from_child]


def _write(fd: int, rest: memoryview) -> memoryview:
    try:
        return rest[os.write(fd, rest[:65536]) :] if rest else rest
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]


if __name__ == "__main__":
    serve(sys.argv[1])
