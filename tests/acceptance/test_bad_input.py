"""Invalid input and impossible hub paths: one error line, a hint, an exit code, nothing damaged."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from llmctl.store.schema import ddl
from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import FakeServer, delta, document, event, refusal, stream
from tests.harness import TIMEOUT_S, Llmctl, Result, build_env


def assert_error_lines(done: Result, code: int, message: str, hint: str | None = None) -> None:
    """Assert one error line, at most one hint line and nothing on stdout."""
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (code, ""), done
    assert lines[0] == f"llmctl: {message}", done.stderr
    assert len(lines) <= 2
    assert len(lines) == 1 or lines[1].startswith("hint: ")
    if hint is not None:
        assert hint in lines[1]


# --- flags and values -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrong:
    words: str
    code: int
    message: str
    hint: str | None = None


NO_JSON = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
WRONG = [
    Wrong("--connection nope hi", 3, 'no connection "nope"', "llmctl connection list"),
    Wrong("--connection fak hi", 3, 'no connection "fak"', "did you mean fake?"),
    Wrong("--chat nope hi", 3, 'no chat "nope"', "llmctl chats list"),
    Wrong("--chat abcd hi", 3, 'no chat "abcd"'),
    Wrong("--chat last hi", 3, 'no chat from "FOLDER"', 'start one: llmctl chat "..."'),
    Wrong("-m mistral:small hi", 4, 'no key for "mistral"', "MISTRAL_API_KEY"),
    Wrong("--field user_id=1 hi", 2, 'no custom field "user_id" on chats', "llmctl init --field"),
    Wrong("--retries x hi", 2, '--retries must be a whole number, got "x"'),
    Wrong("--retries -1 hi", 2, '--retries must be 0 or more, got "-1"'),
    Wrong("--history x hi", 2, '--history must be a whole number, got "x"'),
    Wrong("--history -1 hi", 2, '--history must be 0 or more, got "-1"'),
    Wrong("--max-steps 0 hi", 2, '--max-steps must be 1 or more, got "0"'),
    Wrong("--timeout x hi", 2, '--timeout must be a number, got "x"'),
    Wrong("--timeout 0 hi", 2, '--timeout must be greater than 0, got "0"'),
    Wrong("--timeout nan hi", 2, '--timeout must be greater than 0, got "nan"'),
    Wrong("--timeout inf hi", 2, '--timeout must be at most 1,000,000,000, got "inf"'),
    Wrong("--wait -1 hi", 2, '--wait must be 0 or more, got "-1"'),
    Wrong("--thinking lots hi", 2, '--thinking must be none, low, medium, high or a number of tokens, got "lots"'),
    Wrong(
        "--no-persist cheese hi",
        2,
        '--no-persist must be one or more of tool-calls, requests, network, streams, got "cheese"',
    ),
    Wrong("-o temperature hi", 2, '--option must be K=V, got "temperature"'),
    Wrong("-o =3 hi", 2, '--option must be K=V, got "=3"'),
    Wrong("-o k:= hi", 2, '"--option k:=" is not valid JSON: Expecting value: line 1 column 1 (char 0)'),
    Wrong("-o k:={ hi", 2, f'"--option k:=" is not valid JSON: {NO_JSON}'),
    Wrong("-o k:=NaN hi", 2, '"--option k:=" is not valid JSON: NaN is no number of JSON'),
    Wrong("-o k:=1e999 hi", 2, '"--option k:=" is not valid JSON: a number is out of range'),
    Wrong("--metadata k:={ hi", 2, f'"--metadata k:=" is not valid JSON: {NO_JSON}'),
    Wrong("--metadata k hi", 2, '--metadata must be K=V, got "k"'),
    Wrong("--reference k hi", 2, '--reference must be K=V, got "k"'),
    Wrong("--messages nofile", 3, 'cannot read "nofile": No such file or directory'),
    Wrong("--messages text.txt", 2, '"text.txt" is not valid JSON: Expecting value: line 1 column 1 (char 0)'),
    Wrong("--messages empty.json", 2, '"empty.json" must be a non-empty JSON array of messages', '"role": "user"'),
    Wrong("--messages role.json", 2, 'invalid message in "role.json": {"role":"wizard","content":"x"}'),
    Wrong("--messages bare.json", 2, 'invalid message in "bare.json": {"role":"user"}'),
    Wrong("-a nofile hi", 3, 'cannot read "nofile": No such file or directory'),
    Wrong("-a . hi", 3, 'cannot read ".": Is a directory'),
    Wrong("--system-file nofile hi", 3, 'cannot read "nofile": No such file or directory'),
    Wrong("--system-file binary hi", 3, 'cannot read "binary": not valid UTF-8'),
    Wrong("--system a --system-file b hi", 2, "--system and --system-file cannot be combined"),
    Wrong("-c --name x hi", 2, "--name and -c cannot be combined"),
    Wrong("--chat x --name x hi", 2, "--name and --chat cannot be combined"),
    Wrong("--csv hi", 2, 'no option "--csv"'),
    Wrong("--output no/such/file hi", 2, 'cannot write "no/such/file": folder does not exist'),
    Wrong("--output . hi", 2, 'cannot write ".": it is a folder'),
    Wrong("--nope hi", 2, 'no option "--nope"'),
    Wrong("--retrie 3 hi", 2, 'no option "--retrie"', "did you mean --retries, "),
    Wrong("--retries", 2, 'option "--retries" requires a value'),
    Wrong("--usage=3 hi", 2, 'option "--usage" takes no value'),
    Wrong("--db", 2, 'option "--db" requires a value'),
    Wrong("", 2, "no prompt", "pipe it in"),
    Wrong("list all", 2, '"chat list all" is ambiguous: a prompt or a command', "llmctl chat -- list all"),
]
FILES = {
    "text.txt": b"hello\n",
    "empty.json": b"[]",
    "role.json": b'[{"role":"wizard","content":"x"}]',
    "bare.json": b'[{"role":"user"}]',
    "binary": b"\xff\xfe\x00",
}


@pytest.fixture(scope="module")
def results(template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Result]]:
    """Results of all invalid command lines; a few at a time, since each is a process."""
    home = tmp_path_factory.mktemp("wrong")
    hub = HubFile(str(shutil.copy2(template, home / "hub.db")))
    for name, data in FILES.items():
        (home / name).write_bytes(data)
    with FakeServer() as server, ThreadPoolExecutor(4) as pool:
        hub.connect("fake", server.url, key="env:FAKE_KEY")
        before, files = digest(hub.path), sorted(os.listdir(home))
        llmctl = Llmctl(
            build_env(str(home), LLMCTL_DB=hub.path, LLMCTL_MODEL="fake", FAKE_KEY="fake-key-0123456789"), str(home)
        )
        runs = {wrong.words: pool.submit(llmctl, "chat", *wrong.words.split()) for wrong in WRONG}
        done = {words: run.result() for words, run in runs.items()}
        yield {words: replace(one, stderr=one.stderr.replace(str(home), "FOLDER")) for words, one in done.items()}
        assert server.requests == []
    assert digest(hub.path) == before
    assert sorted(os.listdir(home)) == files


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.words or "nothing")
def test_invalid_command_lines_are_refused_before_anything_is_sent_or_written(
    results: dict[str, Result], wrong: Any
) -> None:
    assert_error_lines(results[wrong.words], wrong.code, wrong.message, wrong.hint)


def at_once(llmctl: Llmctl, *lines: tuple[str | bytes, ...]) -> list[Result]:
    """Run several command lines, a few at a time."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda words: llmctl(*words), lines))


def test_empty_flag_value_is_refused(llmctl: Llmctl, server: FakeServer) -> None:
    flags = ["--chat", "--name", "--model", "--connection", "--output"]
    for flag, done in zip(flags, at_once(llmctl, *(("chat", flag, "", "hi") for flag in flags)), strict=True):
        assert_error_lines(done, 2, f"{flag} must not be empty", "check that the variable it comes from is set")
    assert server.requests == []


def test_argument_that_is_no_text_is_an_error(llmctl: Llmctl, server: FakeServer) -> None:
    flags = ["--name", "--chat", "-m", "-s", "--tag", "--metadata", "-o"]
    for done in at_once(llmctl, *(("chat", flag, b"k=\xff", "hi") for flag in flags)):
        assert_error_lines(done, 2, "an argument is not valid UTF-8", "only file names may contain such bytes")
    assert server.requests == []


def test_model_that_the_host_does_not_know(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(refusal(404, "The model `nope` does not exist", code="model_not_found"))
    done = llmctl("chat", "-m", "fake:nope", "hi")
    assert_error_lines(done, 3, "The model `nope` does not exist", "llmctl connection models")


def test_unknown_provider_of_a_connection(llmctl: Llmctl, hub: HubFile) -> None:
    with closing(sqlite3.connect(hub.path)) as connection:
        connection.execute("UPDATE model_connections SET provider = 'nope', data = '{}' WHERE name = 'fake'")
        connection.commit()
    assert_error_lines(llmctl("chat", "hi"), 3, 'no provider "nope"', "--base-url")


def test_unknown_wire_of_a_connection_leaves_no_lock(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    hub.connect("wired", server.url, key="env:FAKE_KEY", wire="telegraph")
    assert llmctl("chat", "-m", "wired", "hi").returncode in (2, 4)
    assert hub.is_free()
    assert "running" not in hub.states()["jobs"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://127.0.0.1/v1", 2),
        ("http://", 4),
        ("http://127.0.0.1:99999/v1", 4),
        ("nonsense", 4),
        ("http://[::1/v1", 4),
    ],
)
def test_base_url_that_is_none(llmctl: Llmctl, hub: HubFile, url: str, code: int) -> None:
    hub.connect("bad", url, provider="compatible")
    done = llmctl("chat", "-m", "bad", "hi")
    assert (done.returncode, done.stdout) in [(code, ""), (2, ""), (4, "")]
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 2, done.stderr
    assert hub.is_free()


def test_server_that_is_not_there(llmctl: Llmctl, hub: HubFile) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    hub.connect("gone", f"http://127.0.0.1:{port}/v1", key="env:FAKE_KEY")
    done = llmctl("chat", "-m", "gone", "--retries", "0", "hi")
    assert_error_lines(done, 6, f"127.0.0.1:{port} refused the connection", "check that the server is running")


# --- unusual answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "steps", "text"),
    [
        ("a character in two halves", (delta("a \ud83d"), delta("\ude00 b")), "a 😀 b"),
        ("half a character", (delta("a \ud83d"), delta(" b")), "a � b"),
        ("half a character at the end", (delta("a"), delta("\ud83d")), "a�"),
        ("NUL", (delta("a\0b"),), "a\0b"),
        ("line ends", (delta("a\r\n\u2028b"),), "a\r\n\u2028b"),
    ],
)
def test_special_characters_are_printed_and_stored(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, name: str, steps: tuple[Any, ...], text: str
) -> None:
    server.answer(stream("", insert={0: b"".join(steps)}))
    done = llmctl("chat", "hi")
    assert (done.returncode, done.stdout) == (0, f"{text}\n")
    assert hub.messages[-1]["content"] == text
    assert llmctl("chat", "-c", "on").returncode == 0
    assert server.requests[-1].messages[1] == ("assistant", text)


def test_half_characters_outside_the_text_keep_no_answer_from_being_stored(
    llmctl: Llmctl, server: FakeServer, hub: HubFile
) -> None:
    message = {"id": "cmpl-\ud83d", "model": "fake-\ud83d", "choices": [{"delta": {"content": "ok"}}]}
    server.answer(stream("", insert={0: event(message)}))
    assert llmctl("chat", "hi").stdout == "ok\n"
    assert hub.messages[-1]["content"] == "ok"
    assert hub.value("SELECT status FROM requests") == "completed"


def test_document_in_place_of_a_stream_is_read(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(document("whole at once"))
    assert llmctl("chat", "hi").stdout == "whole at once\n"


@pytest.mark.parametrize("locale", ["C", "POSIX", "tr_TR.ISO-8859-9", "nonsense"])
def test_text_is_utf8_whatever_the_locale(llmctl: Llmctl, server: FakeServer, hub: HubFile, locale: str) -> None:
    llmctl = llmctl.with_env(LC_ALL=locale, LANG=locale)
    done = llmctl("chat", "ä€", input="😀")
    assert (done.returncode, done.stdout) == (0, "echo: ä€\n\n😀\n")
    assert hub.messages[0]["content"] == "ä€\n\n😀"


# --- hubs -----------------------------------------------------------------------------------------------------------


def digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def damaged(path: str) -> None:
    HubFile(path)
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(200_000))


def newer(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")


def other_database(path: str) -> None:
    os.unlink(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")


def written(data: bytes) -> Callable[[str], None]:
    def write(path: str) -> None:
        with open(path, "wb") as file:
            file.write(data)

    return write


@dataclass(frozen=True)
class NoHub:
    """A file in place of the hub (made from a valid hub)."""

    name: str
    make: Callable[[str], None]
    code: int
    message: str
    hint: str


def replaced(make: Callable[[str], object]) -> Callable[[str], None]:
    def replace(path: str) -> None:
        os.unlink(path)
        make(path)

    return replace


NOT_SQLITE = '"{}" is not a SQLite database'
NO_HUBS = [
    NoHub("text", written(b"hello, this is a text\n" * 50), 13, NOT_SQLITE, "--db or LLMCTL_DB"),
    NoHub("one byte", written(b"x"), 13, NOT_SQLITE, "--db or LLMCTL_DB"),
    NoHub("zeros", written(b"\0" * 5000), 13, NOT_SQLITE, "--db or LLMCTL_DB"),
    NoHub("other database", other_database, 13, '"{}" is a database, but not a hub', "llmctl init --adopt"),
    NoHub(
        "newer",
        newer,
        13,
        f'the hub "{{}}" was written by a newer llmctl (schema 999, this program supports {ddl.VERSION})',
        "upgrade",
    ),
    NoHub("cut off", lambda path: os.truncate(path, 8192), 13, 'the hub "{}" is damaged', "llmctl db restore"),
    NoHub("damaged", damaged, 13, 'the hub "{}" is damaged', "llmctl db restore"),
    NoHub("folder", replaced(os.mkdir), 13, 'cannot open the hub "{}": it is a folder', "--db"),
    NoHub("pipe", replaced(os.mkfifo), 13, 'cannot open the hub "{}": it is not a regular file', "--db"),
    NoHub(
        "broken link",
        replaced(lambda path: os.symlink("gone", path)),
        13,
        'cannot open the hub "{}": it is a link to "gone", which does not exist',
        "--db",
    ),
]


@pytest.mark.parametrize("no_hub", NO_HUBS, ids=lambda no_hub: no_hub.name)
def test_what_is_no_hub_is_told_and_stays_as_it_is(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, no_hub: Any
) -> None:
    no_hub.make(hub.path)
    before = fingerprint(hub.path)
    for done in at_once(llmctl, ("chat", "hi"), ("chat", "-c"), ("stats",)):
        assert_error_lines(done, no_hub.code, no_hub.message.format(hub.path), no_hub.hint)
    assert fingerprint(hub.path) == before
    assert server.requests == []
    assert [name for name in hub.list_side_files() if not name.endswith(("-wal", "-shm"))] == []


def fingerprint(path: str) -> tuple[int, int, str]:
    found = os.lstat(path)
    return found.st_mode, found.st_ino, digest(path) if stat.S_ISREG(found.st_mode) else ""


def test_missing_hub_is_made_by_chat_and_missed_by_readers(llmctl_without_hub: Llmctl, home: str) -> None:
    path = f"{home}/no/such/folder/hub.db"
    assert_error_lines(llmctl_without_hub("stats", "--db", path), 4, f'no hub at "{path}"', "llmctl init")
    assert os.listdir(home) == []
    assert llmctl_without_hub("chat", "--db", path, "-m", "echo", "hi").stdout == "hi\n"
    assert os.path.getsize(path)


def test_folder_that_cannot_be_made(llmctl_without_hub: Llmctl, home: str) -> None:
    path = f"{home}/file"
    with open(path, "w") as file:
        file.write("x")
    done = llmctl_without_hub("chat", "--db", f"{path}/hub.db", "-m", "echo", "hi")
    assert_error_lines(done, 13, f'cannot open the hub "{path}/hub.db": Not a directory')
    done = llmctl_without_hub("chat", "--db", "/proc/nowhere/hub.db", "-m", "echo", "hi")
    assert_error_lines(done, 13, 'cannot create the folder "/proc/nowhere": No such file or directory', "--db")


def test_empty_file_becomes_the_hub_and_keeps_its_mode(llmctl_without_hub: Llmctl, home: str) -> None:
    path, link = f"{home}/empty.db", f"{home}/link.db"
    open(path, "w").close()
    os.chmod(path, 0o640)
    os.symlink(path, link)
    assert llmctl_without_hub("chat", "--db", link, "-m", "echo", "hi").returncode == 0
    assert os.path.islink(link)
    assert os.stat(path).st_mode & 0o777 == 0o640
    HubFile(path).assert_sound()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"HOME": None}, "no home folder for the hub"),
        ({"HOME": ""}, "no home folder for the hub"),
        ({"HOME": "/nonexistent/home"}, 'home folder "/nonexistent/home" does not exist'),
    ],
)
def test_no_home(llmctl_without_hub: Llmctl, env: dict[str, Any], message: str) -> None:
    for done in at_once(llmctl_without_hub.with_env(**env), ("chat", "-m", "echo", "hi"), ("stats",)):
        assert_error_lines(done, 4, message, "set LLMCTL_DB")
    assert not os.path.exists("/nonexistent")


# --- missing permissions --------------------------------------------------------------------------------------------


def as_nobody(llmctl: Llmctl, *words: str) -> Result:
    """Run without the capabilities by which root bypasses file permissions."""
    return llmctl(*words, preexec_fn=without_privileges) if os.getuid() == 0 else llmctl(*words)


def without_privileges() -> None:
    """Drop root's capabilities to bypass file permissions: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in (1, 2, 3):
        if prctl(24, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")


@pytest.fixture
def held(llmctl: Llmctl) -> Llmctl:
    """llmctl, subject to file permissions even for root."""
    try:
        as_nobody(llmctl, "--version")
    except subprocess.SubprocessError:
        pytest.skip("root cannot give up its privileges here")
    return llmctl


def test_read_only_hub_can_be_read_and_is_not_talked_to(held: Llmctl, hub: HubFile, server: FakeServer) -> None:
    assert held("chat", "hi").returncode == 0
    os.chmod(hub.path, 0o400)
    before = digest(hub.path)
    done = as_nobody(held, "chat", "hi")
    assert_error_lines(done, 13, f'the hub "{hub.path}" is read-only', "or use --db")
    assert as_nobody(held, "stats", "--json").json["requests"] == 1
    assert len(server.requests) == 1
    assert digest(hub.path) == before


def test_hub_in_a_read_only_folder_can_be_read_and_is_not_talked_to(
    held: Llmctl, hub: HubFile, server: FakeServer
) -> None:
    assert held("chat", "hi").returncode == 0
    os.chmod(held.cwd, 0o500)
    try:
        before = digest(hub.path)
        done = as_nobody(held, "chat", "hi")
        assert (done.returncode, done.stdout) == (13, "")
        assert done.stderr.count("\n") == 2
        assert as_nobody(held, "stats", "--json").json["requests"] == 1
        assert len(server.requests) == 1
        assert digest(hub.path) == before
    finally:
        os.chmod(held.cwd, 0o700)


def test_log_beside_a_hub_in_a_read_only_folder_is_never_left_out(
    held: Llmctl, hub: HubFile, server: FakeServer, tmp_path: Path
) -> None:
    server.answer(stream("one two", hold=1))
    running = held.start("chat", "hi")
    running.wait_for_output("one")
    running.kill()
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for suffix in ("", "-wal"):
        shutil.copyfile(hub.path + suffix, snapshot / f"hub.db{suffix}")
    snapshot.chmod(0o500)
    try:
        done = as_nobody(held, "stats", "--json", "--db", f"{snapshot}/hub.db")
        assert done.returncode == 13 or done.json["requests"] == 1, done
        assert done.returncode == 13 or done.stderr == ""
    finally:
        snapshot.chmod(0o700)


def test_home_that_may_not_be_written(held: Llmctl, home: str) -> None:
    shutil.rmtree(os.path.join(home, ".local"))
    os.chmod(home, 0o500)
    try:
        done = as_nobody(held.with_env(LLMCTL_DB=None), "chat", "-m", "echo", "hi")
        assert_error_lines(done, 13, f'cannot create the folder "{home}/.local": Permission denied', "--db")
    finally:
        os.chmod(home, 0o700)


def test_unreadable_hub(held: Llmctl, hub: HubFile) -> None:
    os.chmod(hub.path, 0o000)
    done = as_nobody(held, "chat", "hi")
    assert_error_lines(done, 13, f'cannot open the hub "{hub.path}"')


def test_spool_of_another_user_is_ignored(held: Llmctl, hub: HubFile) -> None:
    with open(f"{hub.path}.spool", "w") as file:
        file.write('["delete","chats",{"id":"x"}]\n')
    os.chmod(f"{hub.path}.spool", 0o000)
    done = as_nobody(held, "chat", "-m", "echo", "hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "")


# --- stdout and files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
@pytest.mark.parametrize("form", ["", "--json", "--jsonl", "-x"])
def test_unwritable_stdout_is_an_error_and_the_answer_is_stored(
    llmctl: Llmctl, server: FakeServer, hub: HubFile, where: str, form: str
) -> None:
    server.answer(stream("one\n```\ntwo\n```\n"))
    done = llmctl.shell(f"llmctl chat {form} hi {where}")
    assert done.returncode == 1
    assert "cannot write to standard output: " in done.stderr
    assert done.stderr.count("\n") == 1
    # The first line of --jsonl may come, and fail, before the first word.
    assert hub.messages[-1]["content"].startswith(("one", "hi") if form == "--jsonl" else "one")
    assert hub.is_free()
    if form == "--json":
        assert done.error["request_id"] == hub.value("SELECT id FROM requests")


def test_stderr_that_takes_nothing_changes_nothing(llmctl: Llmctl, server: FakeServer) -> None:
    server.answer(refusal(500), refusal(500))
    assert llmctl.shell("llmctl chat --retries 0 hi 2>&-").returncode == 6
    assert llmctl.shell("llmctl chat --retries 0 hi 2>/dev/full").returncode == 6
    assert llmctl.shell("llmctl chat -u hi 2>&-").stdout == "echo: hi\n"


def test_output_is_renamed_on_success_alone(llmctl: Llmctl, server: FakeServer, tmp_path: Path) -> None:
    place = tmp_path / "out.txt"
    place.write_text("before")
    place.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(place)
    for reply, code in ((stream("one two", then="cut"), 12), (refusal(500), 6), (stream("no block"), 11)):
        server.answer(reply)
        assert llmctl("chat", "--retries", "0", "-x", "--output", str(link), "hi").returncode == code
        assert place.read_text() == "before"
    assert llmctl("chat", "--output", str(link), "hi").stdout == ""
    assert place.read_text() == "echo: hi\n"
    assert link.is_symlink()
    assert place.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "link.txt", "out.txt"]


def test_output_to_a_pipe_is_written_and_the_pipe_stays(llmctl: Llmctl, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        assert llmctl("chat", "--output", str(pipe), "hi").returncode == 0
        assert reader.communicate(timeout=TIMEOUT_S)[0] == b"echo: hi\n"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_blocked_answer_names_its_ids(llmctl: Llmctl, server: FakeServer, hub: HubFile) -> None:
    server.answer(stream("no block here"))
    done = llmctl("chat", "-x", "hi")
    assert_error_lines(done, 11, "the answer has no fenced code block")
    assert hub.messages[-1]["status"] == "completed"


def test_folder_that_was_removed(llmctl: Llmctl, server: FakeServer) -> None:
    done = llmctl.shell("mkdir gone; cd gone; rmdir ../gone; llmctl chat hi; llmctl chat -c on")
    assert (done.returncode, done.stdout) == (0, "echo: hi\necho: on\n"), done
    assert server.requests[-1].messages == [("user", "hi"), ("assistant", "echo: hi"), ("user", "on")]
