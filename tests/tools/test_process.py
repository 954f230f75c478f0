"""The one place that starts programs: real programs, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmctl.core import signals as core_signals
from llmctl.core.errors import ConfigError, NotFoundError
from llmctl.tools.process import ToolThread, kill_started_by, run_program
from tests.harness import TIMEOUT_S, wait_until

ENV = {"PATH": os.environ["PATH"]}


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or waits to be collected."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for_pid(path: Path) -> int:
    """Return the process id that a program writes into a file."""
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def run_with_timeout(command: str | list[str], is_ready: Callable[[Any], Any], **options: Any) -> Any:
    """Run a program that has to be timed out after it has done something, which may take a busy machine a while."""
    for timeout_s in (0.3, 3.0, 30.0, 300.0):
        done = run_program(command, env=ENV, timeout_s=timeout_s, **options)
        if is_ready(done):
            break
    return done


def test_run_returns_both_outputs_and_the_status() -> None:
    done = run_program("printf out; printf err >&2; exit 3", env=ENV)
    assert (done.stdout, done.stderr, done.exit_status) == (b"out", b"err", 3)
    assert not done.timed_out
    assert not done.truncated
    assert done.duration_ms >= 1


def test_run_takes_an_argv_without_a_shell() -> None:
    assert run_program(["printf", "%s", "$HOME; ls"], env=ENV).stdout == b"$HOME; ls"


def test_run_feeds_more_than_a_pipe_holds_and_reads_as_much_back() -> None:
    data = os.urandom(300_000)
    assert run_program(["cat"], env=ENV, stdin=data).stdout == data


def test_run_survives_a_program_that_reads_nothing() -> None:
    assert run_program("exec 0<&-; sleep 0.05; echo done", env=ENV, stdin=b"x" * 1_000_000).stdout == b"done\n"


def test_run_never_gives_our_stdin() -> None:
    assert run_program("readlink /proc/self/fd/0", env=ENV).stdout == b"/dev/null\n"


def test_run_has_no_terminal_and_its_own_session() -> None:
    done = run_program([sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())"], env=ENV)
    assert done.stdout == b"True\n"


def test_run_passes_exactly_the_given_environment(tmp_path: Path) -> None:
    done = run_program("env; pwd", env=ENV | {"KEY_NAME": "value"}, cwd=str(tmp_path))
    names = {line.partition(b"=")[0] for line in done.stdout.splitlines() if b"=" in line}
    assert names <= {b"PATH", b"KEY_NAME", b"PWD", b"_", b"SHLVL", b"OLDPWD"}
    assert done.stdout.endswith(os.fsencode(tmp_path.resolve()) + b"\n")


def test_run_bounds_the_output_but_lets_the_program_finish() -> None:
    done = run_program("head -c 500000 /dev/zero; echo end >&2; exit 4", env=ENV, max_output_bytes=1000)
    assert len(done.stdout) == 1000
    assert done.truncated
    assert (done.exit_status, done.stderr) == (4, b"end\n")


def test_run_kills_the_whole_group_when_the_time_is_over(tmp_path: Path) -> None:
    child = tmp_path / "child"
    command = f"sleep 6000 & echo $! > {child}; printf part; wait"
    done = run_with_timeout(command, lambda done: done.stdout)
    assert done.timed_out
    assert done.exit_status == 128 + signal.SIGKILL
    assert done.stdout == b"part"
    pid = wait_for_pid(child)
    wait_until(lambda: has_ended(pid))


def test_run_kills_a_program_that_closed_its_output() -> None:
    done = run_program("exec >&- 2>&-; sleep 6000", env=ENV, timeout_s=0.2)
    assert done.timed_out


def test_run_kills_a_program_that_writes_forever() -> None:
    done = run_with_timeout(["yes"], lambda done: done.stdout, max_output_bytes=10)
    assert done.timed_out
    assert done.stdout == b"y\ny\ny\ny\ny\n"


def test_run_does_not_wait_for_a_child_that_keeps_the_pipe(tmp_path: Path) -> None:
    done = run_program(f"sleep 6000 & echo $! > {tmp_path}/child; echo key", env=ENV, timeout_s=TIMEOUT_S)
    assert (done.stdout, done.exit_status, done.timed_out) == (b"key\n", 0, False)
    os.kill(wait_for_pid(tmp_path / "child"), signal.SIGKILL)


def test_run_reports_a_death_by_signal() -> None:
    assert run_program("kill -TERM $$", env=ENV).exit_status == 128 + signal.SIGTERM


@pytest.mark.parametrize("watch", ["pidfd", "polling"])
def test_run_works_without_pidfd(watch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if watch == "polling":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    done = run_program("exec >&- 2>&-; sleep 0.05; exit 5", env=ENV, timeout_s=TIMEOUT_S)
    assert done.exit_status == 5
    assert not done.timed_out
    assert run_program("sleep 6000", env=ENV, timeout_s=0.1).timed_out


@pytest.mark.parametrize("argv", [["/no/such/program"], ["no-such-program-here"]])
def test_run_names_a_missing_program(argv: list[str]) -> None:
    with pytest.raises(NotFoundError, match=f'no program "{argv[0]}"'):
        run_program(argv, env=ENV)


def test_run_names_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r'no folder ".*nowhere"'):
        run_program(["true"], env=ENV, cwd=str(tmp_path / "nowhere"))


def test_run_names_a_file_that_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ConfigError, match="permission denied"):
        run_program([str(tmp_path / "text")], env=ENV)


def test_run_takes_its_program_along_when_a_signal_ends_us(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
from llmctl.core import signals
from llmctl.tools.process import run_program
signal.signal(signal.SIGTERM, signals.handle_signal)
try:
    run_program("echo $$ > {tmp_path}/own; sleep 6000 & echo $! > {tmp_path}/child; wait", env=dict(os.environ))
except signals.Signalled as caught:
    os.kill(os.getpid(), caught.signum)
"""
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", script])
    child, own = wait_for_pid(tmp_path / "child"), wait_for_pid(tmp_path / "own")
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    wait_until(lambda: has_ended(own) and has_ended(child))


def test_run_leaves_nothing_behind_whenever_the_signal_comes(restored_signals: None) -> None:
    def run_until(seconds: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        run_program(["sleep", f"61.0{os.getpid()}"], env=ENV)

    signal.signal(signal.SIGALRM, core_signals.handle_signal)
    for step in range(60):
        with pytest.raises(core_signals.Signalled):
            run_until(0.0002 + step * 0.00005)
    assert running(f"61.0{os.getpid()}") == []


@pytest.fixture
def restored_signals() -> Iterator[None]:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in signals}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def running(argument: Any) -> list[Any]:
    """Return the processes that have that argument."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if argument.encode() in words:
            found.append(int(pid))
    return found


def test_programs_of_one_turn_are_killed_and_those_of_others_are_not(tmp_path: Path) -> None:
    done: dict[str, Any] = {}

    def start(name: str) -> ToolThread:
        command = f"echo $$ > {tmp_path}/{name}; sleep 6000"
        thread = ToolThread(lambda: done.update({name: run_program(command, env=ENV, timeout_s=6000)}))
        thread.start()
        return thread

    def run_subagent() -> None:
        start("nested").join(TIMEOUT_S)

    own, other, subagent = start("own"), start("other"), ToolThread(run_subagent)
    subagent.start()
    for name in ("own", "other", "nested"):
        wait_for_pid(tmp_path / name)
    kill_started_by([own, subagent])
    own.join(TIMEOUT_S)
    subagent.join(TIMEOUT_S)
    assert {name: (one.exit_status, one.timed_out) for name, one in done.items()} == {
        "own": (128 + signal.SIGKILL, False),
        "nested": (128 + signal.SIGKILL, False),
    }
    kill_started_by([other])
    other.join(TIMEOUT_S)
    assert "other" in done


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_undumpable_process_cannot_be_inspected() -> None:
    script = (
        "import ctypes, os; from llmctl.tools import process; process.make_undumpable();"
        "print(ctypes.CDLL(None).prctl(3));"
        "print(process.run_program(['cat', '/proc/self/environ'], env={'A': 'b'}).stdout)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "0\nb'A=b\\x00'\n"
