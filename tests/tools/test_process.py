"""The one place that starts programs: real programs, real signals."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from llmctl.core import signals as core_signals
from llmctl.core.errors import ConfigError, NotFoundError
from llmctl.tools.process import kill_all, run

ENV = {"PATH": os.environ["PATH"]}


def gone(pid):
    """Tell whether a process ended, giving the kernel a moment to finish it off."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def wait_for(path):
    until = time.monotonic() + 10
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < until
        time.sleep(0.005)
    return int(path.read_text())


def test_run_returns_both_outputs_and_the_status():
    done = run("printf out; printf err >&2; exit 3", env=ENV)
    assert (done.stdout, done.stderr, done.exit_status) == (b"out", b"err", 3)
    assert not done.timed_out
    assert not done.truncated
    assert done.duration_ms >= 1


def test_run_takes_an_argv_without_a_shell():
    assert run(["printf", "%s", "$HOME; ls"], env=ENV).stdout == b"$HOME; ls"


def test_run_feeds_more_than_a_pipe_holds_and_reads_as_much_back():
    data = os.urandom(300_000)
    assert run(["cat"], env=ENV, stdin=data).stdout == data


def test_run_survives_a_program_that_reads_nothing():
    assert run("exec 0<&-; sleep 0.05; echo done", env=ENV, stdin=b"x" * 1_000_000).stdout == b"done\n"


def test_run_never_gives_our_stdin():
    assert run("readlink /proc/self/fd/0", env=ENV).stdout == b"/dev/null\n"


def test_run_has_no_terminal_and_its_own_session():
    done = run([sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())"], env=ENV)
    assert done.stdout == b"True\n"


def test_run_passes_exactly_the_given_environment(tmp_path):
    done = run("env; pwd", env=ENV | {"KEY_NAME": "value"}, cwd=str(tmp_path))
    names = {line.partition(b"=")[0] for line in done.stdout.splitlines() if b"=" in line}
    assert names <= {b"PATH", b"KEY_NAME", b"PWD", b"_", b"SHLVL", b"OLDPWD"}
    assert done.stdout.endswith(os.fsencode(tmp_path.resolve()) + b"\n")


def test_run_bounds_the_output_but_lets_the_program_finish():
    done = run("head -c 500000 /dev/zero; echo end >&2; exit 4", env=ENV, max_output_bytes=1000)
    assert len(done.stdout) == 1000
    assert done.truncated
    assert (done.exit_status, done.stderr) == (4, b"end\n")


def test_run_kills_the_whole_group_when_the_time_is_over(tmp_path):
    begun = time.monotonic()
    command = f"printf part; sleep 60 & echo $! > {tmp_path}/child; wait"
    done = run(command, env=ENV, timeout_s=0.3)
    assert time.monotonic() - begun < 5
    assert done.timed_out
    assert done.exit_status == 128 + signal.SIGKILL
    assert done.stdout == b"part"
    assert gone(wait_for(tmp_path / "child"))


def test_run_kills_a_program_that_closed_its_output():
    done = run("exec >&- 2>&-; sleep 60", env=ENV, timeout_s=0.2)
    assert done.timed_out


def test_run_kills_a_program_that_writes_forever():
    done = run(["yes"], env=ENV, timeout_s=0.2, max_output_bytes=10)
    assert done.timed_out
    assert done.stdout == b"y\ny\ny\ny\ny\n"


def test_run_does_not_wait_for_a_child_that_keeps_the_pipe(tmp_path):
    begun = time.monotonic()
    done = run(f"sleep 30 & echo $! > {tmp_path}/child; echo key", env=ENV, timeout_s=20)
    assert time.monotonic() - begun < 5
    assert (done.stdout, done.exit_status, done.timed_out) == (b"key\n", 0, False)
    os.kill(wait_for(tmp_path / "child"), signal.SIGKILL)


def test_run_tells_a_death_by_signal():
    assert run("kill -TERM $$", env=ENV).exit_status == 128 + signal.SIGTERM


@pytest.mark.parametrize("watch", ["pidfd", "polling"])
def test_run_works_where_the_system_does_not_tell_of_ends(watch, monkeypatch):
    if watch == "polling":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    done = run("exec >&- 2>&-; sleep 0.05; exit 5", env=ENV, timeout_s=10)
    assert done.exit_status == 5
    assert done.duration_ms < 5000
    assert run("sleep 30", env=ENV, timeout_s=0.1).timed_out


@pytest.mark.parametrize("argv", [["/no/such/program"], ["no-such-program-here"]])
def test_run_names_a_missing_program(argv):
    with pytest.raises(NotFoundError, match=f'no program "{argv[0]}"'):
        run(argv, env=ENV)


def test_run_names_a_missing_folder(tmp_path):
    with pytest.raises(NotFoundError, match=r'no folder ".*nowhere"'):
        run(["true"], env=ENV, cwd=str(tmp_path / "nowhere"))


def test_run_names_a_file_that_is_no_program(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ConfigError, match="permission denied"):
        run([str(tmp_path / "text")], env=ENV)


def test_run_takes_its_program_along_when_a_signal_ends_us(tmp_path):
    script = f"""
import os, signal, sys
from llmctl.core import interrupt
from llmctl.tools.process import run
signal.signal(signal.SIGTERM, interrupt.handle)
try:
    run("echo $$ > {tmp_path}/own; sleep 60 & echo $! > {tmp_path}/child; wait", env=dict(os.environ))
except interrupt.Signalled as caught:
    os.kill(os.getpid(), caught.signum)
"""
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", script])
    child, own = wait_for(tmp_path / "child"), wait_for(tmp_path / "own")
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    assert gone(own)
    assert gone(child)


def test_run_leaves_nothing_behind_whenever_the_signal_comes(restored_signals):
    def run_until(seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        run(["sleep", f"61.0{os.getpid()}"], env=ENV)

    signal.signal(signal.SIGALRM, core_signals.handle)
    for step in range(60):
        with pytest.raises(core_signals.Signalled):
            run_until(0.0002 + step * 0.00005)
    assert running(f"61.0{os.getpid()}") == []


@pytest.fixture
def restored_signals():
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in signals}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def running(argument):
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


def test_kill_all_ends_what_threads_wait_for(tmp_path):
    done = []
    command = f"echo $$ > {tmp_path}/own; sleep 60"
    thread = threading.Thread(target=lambda: done.append(run(command, env=ENV, timeout_s=50)))
    thread.start()
    wait_for(tmp_path / "own")
    kill_all()
    thread.join(10)
    assert done[0].exit_status == 128 + signal.SIGKILL
    assert not done[0].timed_out


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_hidden_process_can_be_looked_into_by_nobody():
    script = (
        "import ctypes, os; from llmctl.tools import process; process.hide(); print(ctypes.CDLL(None).prctl(3));"
        "print(process.run(['cat', '/proc/self/environ'], env={'A': 'b'}).stdout)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "0\nb'A=b\\x00'\n"
