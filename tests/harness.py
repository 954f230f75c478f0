"""Run llmctl in tests: in this process, as a forked process or as a new one; with one result type.

llmctl("chat", "hi")            a real process, forked from a server that has the modules loaded (fork_server.py)
llmctl.start("chat", "hi")      a new process, in parallel with the test: for crashes, signals and the timing of events
llmctl.shell("llmctl … | …")    a bash script in which llmctl is a command
run_in_process("chat", "hi")    typer's CliRunner: ten times as fast, where no signal, terminal or real stdin matters
run_python(code)                a fresh Python, for what happens at start-up
"""

from __future__ import annotations

import gzip
import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from typer import Typer
from typer.testing import CliRunner

from llmctl.cli.command_tree import CommandGroup
from llmctl.cli.console.console import process_streams
from llmctl.cli.main import run
from tests import fork_server

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = sys.executable
LLMCTL = [PYTHON, "-m", "llmctl"]
#: A safety limit, never a measurement: a process that hangs fails its test instead of blocking the whole run.
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended; names as in ``subprocess``: ``returncode`` is negative if a signal ended it."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[Any]:
        """The objects of ``--jsonl``."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def error(self) -> Any:
        """The error object on stderr."""
        return json.loads(self.stderr.splitlines()[-1])["error"]


#: Type of the fixture ``llmctl_in_process``.
RunInProcess = Callable[..., Result]


def require_success(result: Result) -> str:
    """Return stdout of a command that must have succeeded."""
    assert result.returncode == 0, result.stderr or result.stdout
    return result.stdout


def require_failure(result: Result, code: int) -> str:
    """Return stderr of a command that must have failed with a code and printed nothing."""
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def parse_json(result: Result) -> Any:
    """Return the JSON that a successful command printed."""
    return json.loads(require_success(result))


def build_env(home: str, **variables: str) -> dict[str, str]:
    """Return the environment of a new user, without keys or a hub; further variables are added."""
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**inherited, "HOME": home, "PYTHONPATH": ROOT, "NO_COLOR": "1", "LLMCTL_PAGER": "cat", **variables}


class Llmctl:
    """llmctl with its own environment and working directory."""

    def __init__(self, env: dict[str, str], cwd: str) -> None:
        self.env = env  # not copied: a fixture may add to it after this was made
        self.cwd = cwd

    def with_env(self, **env: str | None) -> Llmctl:
        """Return a copy with other variables; None removes one."""
        merged = {**self.env, **env}
        return Llmctl({name: value for name, value in merged.items() if value is not None}, self.cwd)

    def __call__(
        self,
        *arguments: str | bytes,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        check: bool = False,
        **options: Any,
    ) -> Result:
        """Run to the end; stdin is ``/dev/null`` without input. Options are those of ``subprocess.Popen``."""
        env, cwd = dict(self.env if env is None else env), os.fspath(cwd or self.cwd)
        data = input.encode() if isinstance(input, str) else input
        if not options and fork_server.can_fork(env, arguments):
            words = [str(word) for word in arguments]
            done = fork_server.get_fork_server().run(words, input=data, env=env, cwd=cwd, timeout=TIMEOUT_S)
        else:
            done = _run([*LLMCTL, *arguments], data, env=env, cwd=cwd, **options)
        result = _to_result(done)
        if check:
            require_success(result)
        return result

    def shell(self, script: str, **options: Any) -> Result:
        """Run a bash script in which ``llmctl`` is a function."""
        script = f'llmctl() {{ {" ".join(LLMCTL)} "$@"; }}\n{script}'
        return _to_result(_run(["bash", "-c", script], None, env=self.env, cwd=self.cwd, **options))

    def start(self, *arguments: str, command: Sequence[str] = LLMCTL, **options: Any) -> RunningProcess:
        """Start a fresh process and return at once."""
        options.setdefault("stdin", subprocess.DEVNULL)
        pipe = subprocess.PIPE
        options = {"env": self.env, "cwd": self.cwd, "stdout": pipe, "stderr": pipe, **options}
        return RunningProcess(subprocess.Popen([*command, *arguments], bufsize=0, **options))


class RunningProcess:
    """A process that is still running; ``output`` is what has been read from its stdout so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.output = b""

    def __enter__(self) -> RunningProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process if the test has not."""
        if self.process.poll() is None:
            self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    def write(self, data: bytes) -> None:
        """Write to its stdin, which must be a pipe (``stdin=PIPE``)."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def wait_for_output(self, text: str) -> str:
        """Wait until the text is on stdout."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + TIMEOUT_S
        while text.encode() not in self.output:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert piece, f"{text!r} never came: {self.output!r} {self.kill().stderr!r}"
            self.output += piece
        return self.output.decode()

    def kill(self, signum: int = signal.SIGKILL) -> Result:
        """Send a signal and wait for the end."""
        self.process.send_signal(signum)
        return self.wait()

    def wait(self) -> Result:
        """Wait for the end; stdout is everything that was printed."""
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        return Result(self.process.returncode, (self.output + (out or b"")).decode(), (err or b"").decode())


class _RootGroup(CommandGroup):
    """llmctl as CliRunner calls it: with the current streams and environment."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> Any:
        raise SystemExit(run(list(args or ()), os.environ, process_streams()))


def _typer_app() -> Typer:
    app = Typer(cls=_RootGroup, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    return app


def run_in_process(
    *arguments: str, input: str | bytes | None = None, env: Mapping[str, str | None] | None = None
) -> Result:
    """Run llmctl within this process."""
    done = CliRunner().invoke(_typer_app(), list(arguments), input=input, env=env)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Result(done.exit_code, done.stdout_bytes.decode(), done.stderr_bytes.decode())


def run_command(command: Sequence[str], *, input: str | bytes | None = None, **options: Any) -> Result:
    """Run any command to the end; stdin is ``/dev/null`` without input."""
    return _to_result(_run(command, input.encode() if isinstance(input, str) else input, **options))


def run_python(code: str, **options: Any) -> Result:
    """Run code in a fresh Python that finds this checkout."""
    options["env"] = {"PYTHONPATH": ROOT, **options.get("env", {})}
    return run_command([PYTHON, "-c", code], **options)


def run_on_terminal(
    command: Sequence[str],
    env: Mapping[str, str],
    answers: Sequence[tuple[str, bytes | Callable[[], bytes]]] = (),
    cwd: str | os.PathLike[str] | None = None,
) -> tuple[int, str]:
    """Run a command with a terminal of 100 columns; return the exit code and what was shown.

    Each answer waits until the screen ends with its prompt; a ``|`` in what is returned marks where it was typed.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        if cwd:
            os.chdir(cwd)
        os.execvpe(command[0], list(command), {"COLUMNS": "100", "PYTHONPATH": ROOT, **env})
    screen, waiting = b"", list(answers)
    try:
        while piece := os.read(terminal, 4096):
            screen += piece
            if waiting and screen.rstrip().endswith(waiting[0][0].encode()):
                answer = waiting.pop(0)[1]
                os.write(terminal, answer if isinstance(answer, bytes) else answer())
                screen += b"|"
    except OSError:  # what Linux raises when the other side of the terminal is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode().replace("\r\n", "\n")


def query(hub: Mapping[str, str] | str | os.PathLike[str], sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Return rows of the hub at a path, or of the one that an environment names, read with SQLite alone."""
    path = hub["LLMCTL_DB"] if isinstance(hub, Mapping) else hub
    with closing(sqlite3.connect(path, isolation_level=None, timeout=TIMEOUT_S)) as connection:
        connection.create_function("gunzip", 1, gunzip, deterministic=True)
        return connection.execute(sql, parameters).fetchall()


def gunzip(value: str | bytes | None) -> str | None:
    """Return a stream as text, whichever column of ``response_streams`` has it."""
    return gzip.decompress(value).decode() if isinstance(value, bytes) else value


def query_dicts(hub: Mapping[str, str] | str | os.PathLike[str], sql: str, *parameters: Any) -> list[dict[str, Any]]:
    """Return rows like :func:`query`, by column name."""
    path = hub["LLMCTL_DB"] if isinstance(hub, Mapping) else hub
    with closing(sqlite3.connect(path, isolation_level=None, timeout=TIMEOUT_S)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql, parameters)]


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for a condition by polling, if there is no event to wait for."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert time.monotonic() < deadline, "never became true"
        time.sleep(0.005)


def _run(command: Sequence[str | bytes], data: bytes | None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    if data is not None:
        options["input"] = data
    else:
        options.setdefault("stdin", subprocess.DEVNULL)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": TIMEOUT_S, **options}
    return subprocess.run(command, **options)


def _to_result(done: subprocess.CompletedProcess[bytes]) -> Result:
    return Result(done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode())
