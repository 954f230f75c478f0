"""Completion as the shells do it: the generated scripts in real shells, names and ids from a real hub."""

from __future__ import annotations

import os
import re
import resource
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pexpect
import pytest

from llmctl.store.opening import build_file
from tests.harness import PYTHON, ROOT, TIMEOUT_S, run_command

SCRIPTS = Path(ROOT, "completions")
IDS = [f"{n:08x}-0000-4000-8000-{n:012x}" for n in (0xA1B2C3D4, 0xA1B2C3D5, 0x12345678)]
CHATS = ["fix-42", "fix it, please", None]


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """Return a folder with an ``llmctl`` to be called by name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "llmctl"
    script.write_text(
        f"#!{PYTHON}\nimport sys\nsys.path.insert(0, {ROOT!r})\nfrom llmctl._fastpath import main\nmain()\n"
    )
    script.chmod(0o755)
    return folder


@pytest.fixture
def hub_path(tmp_path: Path) -> Any:
    return make_hub(tmp_path / "hub.db", {})


def make_hub(path: Path, names: dict[str, str]) -> Path:
    build_file(str(path), names)
    connection = sqlite3.connect(path)
    chats, connections = (names.get(n, n).replace('"', '""') for n in ("chats", "model_connections"))
    for identity, name in zip(IDS, CHATS, strict=True):
        connection.execute(f'INSERT INTO "{chats}" (id, name, model) VALUES (?, ?, ?)', (identity, name, "m"))
    for number, (name, model) in enumerate({"sonnet": "claude:4", "local": "llama3:8b", "odd\nname": None}.items()):
        connection.execute(
            f'INSERT INTO "{connections}" (id, name, provider, model_id) VALUES (?, ?, ?, ?)',
            (str(number), name, "openai", model),
        )
    connection.commit()
    connection.close()
    return path


def complete(kind: str, prefix: str = "", *db: str, **env: str) -> list[str]:
    """Ask as a completion script does; return the values."""
    script = f"import sys; sys.path.insert(0, {ROOT!r}); from llmctl._fastpath import main; main()"
    done = subprocess.run(
        [PYTHON, "-c", script, "--complete", kind, prefix, *db], capture_output=True, text=True, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


def test_names_come_first_and_ids_complete_their_prefix(hub_path: Any) -> None:
    env = {"LLMCTL_DB": str(hub_path)}
    assert complete("chat", "", **env) == ["fix it, please", "fix-42", "12345678"]
    assert complete("chat", "fix-", **env) == ["fix-42"]
    assert complete("chat", "a1b2", **env) == ["a1b2c3d5", "a1b2c3d4"]
    assert complete("chat", "a1b2c3d4-", **env) == ["a1b2c3d4-"]
    assert complete("connection", "", **env) == ["local", "sonnet", "echo"]
    assert complete("model", "", **env) == ["local", "sonnet", "echo", "claude:4", "llama3:8b"]
    assert complete("model", "llama3:", **env) == ["llama3:8b"]
    assert complete("request", "", **env) == complete("nonsense", "", **env) == []


def test_the_hub_is_found_as_the_program_finds_it(hub_path: Any, tmp_path: Path) -> None:
    assert complete("connection", "s", str(hub_path)) == ["sonnet"]
    assert complete("connection", "s", str(hub_path), LLMCTL_DB="/nowhere") == ["sonnet"]
    (tmp_path / "data/llmctl").mkdir(parents=True)
    hub_path.rename(tmp_path / "data/llmctl/hub.db")
    assert complete("connection", "s", XDG_DATA_HOME=str(tmp_path / "data")) == ["sonnet"]
    (tmp_path / ".local").mkdir()
    (tmp_path / "data").rename(tmp_path / ".local/share")
    assert complete("connection", "s", HOME=str(tmp_path)) == ["sonnet"]
    assert complete("connection", "s") == []


def test_renamed_tables_are_found(tmp_path: Path) -> None:
    hub_path = make_hub(tmp_path / "hub.db", {"chats": 'my "chats"', "model_connections": "Anschlüsse"})
    assert complete("chat", "fix-", str(hub_path)) == ["fix-42"]
    assert complete("connection", "lo", str(hub_path)) == ["local"]


def test_completion_creates_and_prints_nothing(hub_path: Any, tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no hub " * 1000)
    empty = tmp_path / "empty.db"
    sqlite3.connect(empty).close()
    before = sorted(os.listdir(tmp_path))
    for db in (hub_path, text, empty, tmp_path / "none" / "hub.db", tmp_path):
        complete("chat", "", str(db))
        complete("chat", "'\"%", str(db))
    assert sorted(os.listdir(tmp_path)) == before


def test_rows_that_are_still_in_the_wal_are_seen(hub_path: Any) -> None:
    connection = sqlite3.connect(hub_path)
    connection.execute("UPDATE chats SET name = 'new one' WHERE name = 'fix-42'")
    connection.commit()
    assert complete("chat", "new", str(hub_path)) == ["new one"]
    connection.close()


def test_lookup_costs_little_more_than_python_with_sqlite(hub_path: Path) -> None:
    def measure_cpu_s(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run_command([PYTHON, *arguments], env={"PYTHONPATH": ROOT}).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    script = "from llmctl._fastpath import main; main()"
    lookup = ("-c", script, "--complete", "chat", "", str(hub_path))
    floor = min(measure_cpu_s("-c", "import sqlite3") for _ in range(5))
    assert min(measure_cpu_s(*lookup) for _ in range(5)) < 3 * floor


BASH = r"""
source "$SCRIPTS/llmctl.bash"
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
COMP_LINE=$1; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_llmctl
printf '%s\n' "${COMPREPLY[@]}"
"""


def bash(program: Path, hub_path: Path, *words: str, line: str | None = None) -> list[str]:
    """Return what bash would offer for the last word; bash cuts words at = and : itself."""
    done = subprocess.run(
        ["bash", "-c", BASH, "_", line or " ".join(words), *words],
        capture_output=True,
        text=True,
        env={"PATH": f"{program}:{os.environ['PATH']}", "LLMCTL_DB": str(hub_path), "SCRIPTS": str(SCRIPTS)},
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


def test_bash_completes_commands_and_flags(program: Any, hub_path: Any) -> None:
    assert bash(program, hub_path, "llmctl", "ch") == ["chat", "chats"]
    assert bash(program, hub_path, "llmctl", "chats", "s") == ["show", "search"]
    assert bash(program, hub_path, "llmctl", "--db", "x", "--quiet", "chats", "re") == ["rename", "render"]
    assert {"--json", "--jsonl", "--columns"} <= set(bash(program, hub_path, "llmctl", "chats", "list", "--"))
    assert bash(program, hub_path, "llmctl", "--vers") == ["--version"]
    assert bash(program, hub_path, "llmctl", "completion", "") == ["bash", "zsh", "fish"]
    assert bash(program, hub_path, "llmctl", "help", "exit") == ["exit-codes"]
    assert bash(program, hub_path, "llmctl", "chat", "--", "--js") == []


def test_bash_completes_what_is_in_the_hub(program: Any, hub_path: Any) -> None:
    assert bash(program, hub_path, "llmctl", "chats", "show", "fix") == [r"fix\ it\,\ please", "fix-42"]
    assert bash(program, hub_path, "llmctl", "chats", "show", "--json", "a1") == ["a1b2c3d5", "a1b2c3d4"]
    assert bash(program, hub_path, "llmctl", "chat", "--chat", "fix-") == ["fix-42"]
    assert bash(program, hub_path, "llmctl", "chat", "--chat", "=", "fix-", line="llmctl chat --chat=fix-") == [
        "fix-42"
    ]
    assert bash(program, hub_path, "llmctl", "--db", "/nowhere", "chats", "show", "fix") == []


def test_bash_completes_after_a_colon(program: Any, hub_path: Any) -> None:
    assert bash(program, hub_path, "llmctl", "chat", "-m", "llama3", ":", line="llmctl chat -m llama3:") == ["8b"]
    assert bash(program, hub_path, "llmctl", "chat", "-m", "llama3", ":", "8", line="llmctl chat -m llama3:8") == ["8b"]


def test_bash_completes_files(program: Any, hub_path: Any, tmp_path: Path) -> None:
    (tmp_path / "some file.txt").write_text("")
    assert bash(program, hub_path, "llmctl", "--db", f"{tmp_path}/som") == [f"{tmp_path}/some file.txt"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed: its completions stay untried")
def test_fish_completes_commands_flags_and_what_is_in_the_hub(program: Any, hub_path: Any, tmp_path: Path) -> None:
    def fish(line: str) -> list[str]:
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {SCRIPTS}/llmctl.fish; complete -C {line!r}"],
            capture_output=True,
            text=True,
            env={
                "PATH": f"{program}:{os.environ['PATH']}",
                "LLMCTL_DB": str(hub_path),
                "HOME": str(tmp_path),
                "LC_ALL": "C.UTF-8",
            },
        )
        assert done.stderr == ""
        return [offered.split("\t")[0] for offered in done.stdout.splitlines()]

    assert fish("llmctl ch") == ["chat", "chats"]
    assert fish("llmctl --db x chats re") == ["rename", "render"]
    assert fish("llmctl chats list --js") == ["--json", "--jsonl"]
    assert fish("llmctl completion ") == ["bash", "fish", "zsh"]
    assert fish("llmctl chats show fix-") == ["fix-42"]
    assert fish("llmctl chat --chat fix-") == ["fix-42"]
    assert fish(f"llmctl --db {tmp_path}/none chats show fix-") == []


#: A record of each name that a shell must quote, and one that no shell may be given.
AWKWARD = ["it's", 'say "hi"', "qa:b c", r"back\slash", "$HOMEY", "kx=y", "wild*card", "tilde~x", "zz\x1b[31m"]
#: What is typed before Tab, and the words that the shell then runs.
TYPED = {
    "chats show fix-": "chats show fix-42",
    "chats show 'fix i": "chats|show|fix it, please",
    'chats show "fix i': "chats|show|fix it, please",
    "chats show fix\\ i": "chats|show|fix it, please",
    "chats show it": "chats|show|it's",
    "chats show say": 'chats|show|say "hi"',
    "chats show qa:": "chats|show|qa:b c",
    "chats show 'qa:": "chats|show|qa:b c",
    "chats show ba": "chats|show|back\\slash",
    "chats show \\$HO": "chats|show|$HOMEY",
    "chats show '$HO": "chats|show|$HOMEY",
    "chats show kx=": "chats|show|kx=y",
    "chats delete fix-42 wi": "chats|delete|fix-42|wild*card",
    "chats show zz": "chats show zz",
    "chat --chat=fix-": "chat --chat=fix-42",
    "chat -m odd": "chat -m odd",
    "chat -m sonnet:gpt-3": "chat -m sonnet:gpt-3.5-turbo",
    "chat -T time:au": "chat -T time:auto",
    "chat -t revi": "chat -t review",
    "run ./fil": "run ./file.toml",
    "run revi": "run review",
    "agent run sup": "agent run support",
    "agent run ./fil": "agent run ./file.toml",
    "tool approve b": "tool approve bbbbbbbb",
    "connection add open": "connection add open",
    "connection add anth": "connection add anthropic",
    "settings set the": "settings set theme",
    "settings set theme da": "settings set theme dark",
    "settings set default_connection so": "settings set default_connection sonnet",
    "chats list --columns id,na": "chats list --columns id,name",
    "stats --group-by day,mod": "stats --group-by day,model",
    "stats --in yes": "stats --in yesterday",
    "export --format mark": "export --format markdown",
    "chat --thinking hi": "chat --thinking high",
}
SHELLS = {
    "bash": (
        ["bash", "--norc", "-i"],
        "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; PS1=; source $SCRIPTS/llmctl.bash",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        "PS1=; unsetopt zle_bracketed_paste prompt_sp beep; autoload -Uz compinit; compinit -D -u;"
        " source $SCRIPTS/_llmctl",
    ),
    "fish": (["fish", "--no-config"], "function fish_prompt; end; source $SCRIPTS/llmctl.fish"),
}


class Shell:
    """A real shell on a terminal, with our completions."""

    def __init__(self, name: str, program: Path, hub_path: Path, folder: Path) -> None:
        command, setup = SHELLS[name]
        env = {
            "PATH": f"{program}:{os.environ['PATH']}",
            "LLMCTL_DB": str(hub_path),
            "HOME": str(folder),
            "SCRIPTS": str(SCRIPTS),
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm" if name == "fish" else "dumb",
        }
        self._terminal = pexpect.spawn(
            command[0], command[1:], env=env, cwd=str(folder), dimensions=(24, 500), encoding="utf-8", timeout=TIMEOUT_S
        )
        self._terminal.sendline(f"{setup}; echo rea''dy")
        self._terminal.expect("ready")

    def complete(self, typed: str) -> list[str]:
        """Type a command and Tab; return the words of the line after ``llmctl``, as the shell would run it."""
        self._terminal.send(f"llmctl {typed}\t\x01printf '<%s>' \x05; echo 'e''nd'\r")
        self._terminal.expect("(?:[\r\n]|^|\x1b\\[[0-9;?]*[a-zA-Z])<llmctl>(.*?)end")
        return re.findall("<(.*?)>", self._terminal.match[1])

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self._terminal.close(force=True)


@pytest.fixture
def full_hub(hub_path: Path, tmp_path: Path) -> Path:
    """A hub with what is looked up, and files beside it."""
    with closing(sqlite3.connect(hub_path)) as connection, connection:
        connection.executemany(
            "INSERT INTO chats (id, name) VALUES (?, ?)",
            [(f"{n:08x}-1111-4000-8000-000000000000", name) for n, name in enumerate(AWKWARD)],
        )
        connection.execute("INSERT INTO agents (id, name, instructions) VALUES ('1', 'support', 'You help.')")
        connection.executemany(
            "INSERT INTO tool_invocations (id, tool_call_id, name, arguments, status) VALUES (?, ?, 'count', '{}', ?)",
            [("bbbbbbbb-1", "1", "pending"), ("bbbbbbbb-2", "2", "completed")],
        )
    (tmp_path / "file.toml").touch()
    (tmp_path / ".config/llmctl/prompts").mkdir(parents=True)
    (tmp_path / ".config/llmctl/prompts/review.toml").write_text('description = "Review it"\n')
    return hub_path


@pytest.mark.parametrize("name", ["bash", *(pytest.param(name, marks=pytest.mark.slow) for name in ("zsh", "fish"))])
def test_tab_makes_the_line_that_runs(name: str, program: Path, full_hub: Path, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: its completions stay untried")
    # In bash the fast run tries one line of each kind.
    lines = dict(list(TYPED.items())[:: 1 if name != "bash" else 3])
    with Shell(name, program, full_hub, tmp_path) as shell:
        found = {typed: shell.complete(typed) for typed in lines}
    assert found == {typed: re.split("[|]" if "|" in run else " ", run) for typed, run in lines.items()}


def described(kind: str, prefix: str, hub_path: Path, **env: str) -> dict[str, str]:
    script = f"import sys; sys.path.insert(0, {ROOT!r}); from llmctl._fastpath import main; main()"
    done = run_command([PYTHON, "-c", script, "--complete", kind, prefix, str(hub_path)], env=env)
    return dict(line.split("\t", 1) for line in done.stdout.splitlines())


def test_descriptions_say_what_an_id_is(full_hub: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(full_hub)) as connection, connection:
        connection.execute("INSERT INTO message_threads (id, chat_id) VALUES ('t', ?)", (IDS[2],))
        connection.execute(
            "INSERT INTO messages (id, thread_id, seq, role, type, content, status)"
            " VALUES ('m', 't', 1, 'user', 'user', 'why is\nthe sky\x1b[31m blue?', 'completed')"
        )
        connection.execute("UPDATE chats SET superseded_by = ? WHERE id = ?", (IDS[0], IDS[2]))
        connection.execute("INSERT INTO chats (id) VALUES ('99999999-1')")
    assert described("chat", "123", full_hub) == {"12345678": "why is the sky[31m blue?"}
    assert "12345678" not in described("chat", "", full_hub)  # a branch that /retry left
    assert "99999999" in described("chat", "", full_hub)
    assert described("pending", "", full_hub) == {"bbbbbbbb": "count {}"}
    assert described("agent", "", full_hub) == {"support": "You help."}
    assert described("prompt", "", full_hub, HOME=str(tmp_path)) == {"review": "Review it"}
    assert described("grant", "x:a", full_hub) == {"x:auto": "run without asking", "x:ask": "ask each time"}


ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
send() { zpty -w shell "$1" }
send 'stty -echo cols 500; PS1=; autoload -Uz compinit; compinit -D -u'
send "source $SCRIPTS/_llmctl"
# Instead of offering, say what would be offered.
send 'compadd() { local -a ok; builtin compadd -O ok "$@"; for one in $ok; do print -r -- "@@$one@@"; done }'
send 'say() { _main_complete; print "@@@"; exit }; zle -C say complete-word say; bindkey "^I" say'
send 'print ready'
zpty -r shell text '*ready*ready*'
zpty -n -w shell "$LINE"$'\t'
while zpty -r shell text; do
    print -r -- "$text"
    [[ $text == *'@@@'* ]] && break
done
zpty -d shell
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed: its completions stay untried")
def test_zsh_completes_commands_flags_and_what_is_in_the_hub(program: Any, hub_path: Any, tmp_path: Path) -> None:
    assert subprocess.run(["zsh", "-n", SCRIPTS / "_llmctl"], capture_output=True).stderr == b""

    def zsh(line: str) -> set[str]:
        done = subprocess.run(
            ["zsh", "-f", "-c", ZSH],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env={
                "PATH": f"{program}:{os.environ['PATH']}",
                "LLMCTL_DB": str(hub_path),
                "HOME": str(tmp_path),
                "SCRIPTS": str(SCRIPTS),
                "LINE": line,
                "TERM": "dumb",
            },
        )
        return set(re.findall("@@([^@]+)@@", done.stdout))

    assert zsh("llmctl ch") == {"chat", "chats"}
    assert zsh("llmctl --db x chats re") == {"rename", "render"}
    assert zsh("llmctl chats list --js") == {"--json", "--jsonl"}
    assert zsh("llmctl chats show fix-") == {"fix-42"}
    assert zsh("llmctl chat --chat fix-") == {"fix-42"}
