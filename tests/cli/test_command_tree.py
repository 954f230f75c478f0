"""The catalogue is what there is, help costs no import, global flags work everywhere."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
from importlib import import_module
from typing import Any

import pytest

from llmctl.cli import catalog
from llmctl.cli.app import App
from llmctl.cli.command_tree import build_command, global_options
from llmctl.cli.console.console import process_streams
from llmctl.cli.help import topics
from llmctl.cli.help.text import TOPICS, wrap_manual
from tests.cli.sample_commands import SAMPLE_CLI, add_sample_commands
from tests.harness import ROOT, Llmctl, run_in_process

LEAVES = catalog.command_paths()
GLOBAL = {name for option in global_options() for name in option.opts}

add_sample_commands()


def manual(path: tuple[str, ...]) -> str:
    module, name = catalog.locate_function(path)
    return inspect.getdoc(getattr(import_module(module), name)) or ""


def examples(text: str) -> list[str]:
    """Return the lines below ``Examples:`` that call llmctl, continued lines joined."""
    below = text.partition("Examples:\n")[2].replace("\\\n", " ")
    return [line.strip() for line in below.splitlines() if re.search(r"\bllmctl\b", line)]


def calls(example: str) -> list[list[str]]:
    """Return the arguments of each llmctl in a line of shell."""
    lexer = shlex.shlex(example, posix=True, punctuation_chars="|<>;&()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    found: list[list[str]] = []
    here: list[str] | None = None
    for word in lexer:
        if set(word) <= set("|<>;&()"):
            here = None
        elif word == "llmctl":
            found.append(here := [])
        elif here is not None:
            here.append(word)
    return [[word for word in call if word != "2"] for call in found]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_catalog_lists_every_command(path: Any) -> None:
    entry = catalog.CATALOG[path[0]]
    text = entry.subcommands[" ".join(path[1:])] if entry.subcommands else entry.help
    assert manual(path).splitlines()[0] == f"{text}."


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_command_follows_the_conventions(path: Any) -> None:
    names = [name for param in build_command(path).params for name in (*param.opts, *param.secondary_opts)]
    assert len(names) == len(set(names)), "an option is declared twice"
    assert set(names) >= GLOBAL


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_manual_has_examples_that_parse(path: Any) -> None:
    lines = examples(manual(path))
    assert lines, "no examples"
    mine = [call for line in lines for call in map(complete, calls(line)) if tuple(call[: len(path)]) == path]
    assert mine, "no example of the command itself"
    for line in lines:
        for call in calls(line):
            parse(call)


def complete(call: list[str]) -> list[str]:
    """Return a command line with the subcommand that its group runs by default."""
    return [call[0], *catalog.insert_default((call[0],), call[1:])] if call[0] in catalog.CATALOG else call


def parse(call: list[str]) -> None:
    """Parse a command line without running it."""
    call = complete(call)
    size = next(n for n in (3, 2, 1) if tuple(call[:n]) in LEAVES)
    app = App({}, process_streams())
    build_command(tuple(call[:size])).make_context("llmctl", call[size:], obj=app)


@pytest.mark.parametrize("topic", TOPICS)
def test_topic_has_examples_that_parse(topic: Any) -> None:
    text = topics.topic_text(topic)
    for line in examples(text):
        for call in calls(line):
            parse(call)
    assert run_in_process("help", topic).stdout == text


def test_sql_topic_names_every_view() -> None:
    with open(f"{ROOT}/schema/900_views.sql") as file:
        views = re.findall(r"CREATE VIEW (\w+)", file.read())
    assert views
    for view in views:
        assert re.search(rf"^  {view} +\w", topics.topic_text("sql"), re.M)


@pytest.mark.parametrize(
    ("word", "meant"),
    {
        "list": "chats list",
        "ls": "chats list",
        "config": "settings list",
        "keys": "connection add",
        "login": "connection add",
        "version": "--version",
        "models": "model list",
        "cost": "stats",
    }.items(),
)
def test_word_of_another_program_leads_to_the_command(word: str, meant: str) -> None:
    result = run_in_process(word, "-m", "it's")
    dashes = "-- " if word == "list" else ""
    assert (result.returncode, result.stdout) == (2, "")
    assert f"hint: did you mean llmctl {meant}?\n" in result.stderr
    assert f"""llmctl chat {dashes}{word} -m 'it'"'"'s'\n""" in result.stderr


def test_first_argument_with_white_space_is_a_prompt(llmctl: Llmctl) -> None:
    assert llmctl("two words", "-m", "echo", check=True).stdout == "two words\n"
    assert llmctl("--quiet", "two\nlines", "-m", "echo", check=True).stdout == "two\nlines\n"


def test_manual_is_filled_to_the_width_of_a_terminal() -> None:
    manual = "One two three four.\nFive six.\n\nExamples:\n  a line that is long and stays"
    assert wrap_manual(manual, 12) == "One two\nthree four.\nFive six.\n\nExamples:\n  a line that is long and stays"


def test_unknown_command_is_exit_2_with_near_names() -> None:
    result = run_in_process("chatz")
    assert (result.returncode, result.stderr) == (
        2,
        'llmctl: no command "chatz"\nhint: did you mean llmctl chat or llmctl chats?\n'
        "hint: to send it to a model: llmctl chat chatz\n",
    )
    result = run_in_process("chats", "serch")
    assert (result.returncode, result.stderr.splitlines()[1]) == (2, "hint: did you mean search?")
    assert run_in_process("help", "chatz").returncode == 2


def test_no_arguments_is_short_help_and_exit_0() -> None:
    result = run_in_process()
    assert (result.returncode, result.stderr) == (0, "")
    assert "llmctl init" in result.stdout
    assert len(result.stdout.splitlines()) < 15


def test_group_alone_is_its_help() -> None:
    assert (
        run_in_process("chats").stdout
        == run_in_process("chats", "--help").stdout
        == run_in_process("help", "chats").stdout
    )
    lines = [" ".join(line.split()) for line in run_in_process("chats").stdout.splitlines()]
    assert "search Search messages by their words" in lines


def test_help_of_a_command_keeps_its_manual_as_written() -> None:
    text = run_in_process("help", "completion").stdout
    for line in manual(("completion",)).splitlines():
        assert f"  {line}".rstrip() in text.splitlines()
    assert text == run_in_process("completion", "--help").stdout == run_in_process("completion", "-h").stdout


def test_plumbing_appears_in_help_all_only() -> None:
    assert "thread" not in run_in_process("help").stdout
    assert "    thread show " in run_in_process("help", "--all").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--db", "x", "--quiet", "--debug", "state"],
        ["state", "--db", "x", "--quiet", "--debug"],
        ["--quiet", "state", "--debug", "--db=x"],
        ["--db=y", "state", "--db", "x", "word", "--quiet", "--debug"],
    ],
)
def test_global_flags_work_before_and_after_the_command(arguments: list[str]) -> None:
    assert run_in_process(*arguments).stdout == "db=x quiet=True debug=True text=\n"


def test_global_flags_behind_the_dashes_or_as_values_are_text() -> None:
    assert run_in_process("state", "--", "--debug").stdout == "db=None quiet=False debug=False text=\n"
    assert run_in_process("state", "-t", "--quiet").stdout == "db=None quiet=False debug=False text=--quiet\n"


@pytest.mark.parametrize("arguments", [["state", "--version"], ["chats", "-V"], ["--version", "nonsense"]])
def test_version_works_everywhere(arguments: list[str]) -> None:
    result = run_in_process(*arguments)
    assert (result.returncode, result.stdout) == (0, "llmctl 0.1.0\n")


@pytest.mark.parametrize("arguments", [["--help"], ["chats", "--help"], ["chats"], ["nonsense"], ["chats", "x"], []])
def test_help_and_mistakes_import_no_command(arguments: list[Any]) -> None:
    script = (
        "import sys; from llmctl.cli.console.console import process_streams; from llmctl.cli.main import run;"
        f"run({arguments!r}, {{}}, process_streams());"
        "print(*(name for name in sys.modules if name.startswith('llmctl.cli.commands.')), file=sys.stderr)"
    )
    done = subprocess.run([SAMPLE_CLI[0], "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == ""


def test_only_the_command_that_runs_is_imported() -> None:
    script = (
        "import sys; from llmctl.cli.console.console import process_streams; from llmctl.cli.main import run;"
        "run(['help', 'exit-codes'], {}, process_streams());"
        "print(*(name for name in sys.modules if name.startswith('llmctl.cli.commands.')), file=sys.stderr)"
    )
    done = subprocess.run([SAMPLE_CLI[0], "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.split() == ["llmctl.cli.commands.help"]
