"""llmctl as its users run it: a process with its own home, environment and streams."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests import zygote

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LLMCTL = [sys.executable, "-m", "llmctl"]
#: Longer than anything here takes; a process that hangs fails its test instead of the whole run.
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended. ``code`` is negative for a death by signal."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The objects of ``--jsonl``."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> Any:
        """The error object on stderr."""
        return json.loads(self.err.splitlines()[-1])["error"]


class Llmctl:
    """Runs llmctl with nothing of the tester's own environment."""

    def __init__(self, home: str, env: Mapping[str, str]) -> None:
        self.home = home
        self.env = {"PATH": os.environ["PATH"], "HOME": home, "PYTHONPATH": ROOT, **env}

    def with_env(self, **env: str | None) -> Llmctl:
        """Return the same with other variables; None takes one away."""
        found = Llmctl(self.home, {})
        found.env = {name: value for name, value in {**self.env, **env}.items() if value is not None}
        return found

    def __call__(self, *words: str | bytes, stdin: Any = subprocess.DEVNULL, **more: Any) -> Done:
        """Run to the end. ``stdin`` may be text or bytes."""
        is_plain = stdin == subprocess.DEVNULL or isinstance(stdin, str | bytes)
        if is_plain and not more and zygote.takes(self.env, words):
            return self._forked([str(word) for word in words], stdin)
        if isinstance(stdin, str | bytes):
            more["input"] = stdin.encode() if isinstance(stdin, str) else stdin
        else:
            more["stdin"] = stdin
        done = subprocess.run(
            [*LLMCTL, *words], env=self.env, capture_output=True, timeout=PATIENCE_S, cwd=self.home, **more
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def _forked(self, words: list[str], stdin: Any) -> Done:
        given = stdin.encode() if isinstance(stdin, str) else stdin if isinstance(stdin, bytes) else None
        done = zygote.shared().run(words, input=given, env=self.env, cwd=self.home, timeout=PATIENCE_S)
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def shell(self, script: str, **more: Any) -> Done:
        """Run a bash script in which ``llmctl`` is a function."""
        script = f'llmctl() {{ {" ".join(LLMCTL)} "$@"; }}\n{script}'
        more.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(
            ["bash", "-c", script], env=self.env, capture_output=True, timeout=PATIENCE_S, cwd=self.home, **more
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str, **more: Any) -> Running:
        """Start and return at once."""
        more.setdefault("stdin", subprocess.DEVNULL)
        return Running(
            subprocess.Popen(
                [*LLMCTL, *words],
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.home,
                bufsize=0,
                **more,
            )
        )


class Running:
    """A process that still runs. Reads its stdout in time: what was shown is known before it is killed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.shown = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def until(self, text: str) -> str:
        """Wait until stdout has shown the text."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S
        while text.encode() not in self.shown:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert piece, f"{text!r} never came: {self.shown!r} {self.end().err!r}"
            self.shown += piece
        return self.shown.decode()

    def kill(self, signum: int = signal.SIGKILL) -> Done:
        """Send a signal and wait for the end."""
        self.process.send_signal(signum)
        return self.end()

    def end(self) -> Done:
        """Wait for the end; stdout is everything that was shown."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return Done(self.process.returncode, (self.shown + out).decode(), err.decode())


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
