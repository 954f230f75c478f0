"""The catalogue is what there is, help costs no import, global flags work everywhere."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
from importlib import import_module

import pytest
from typer.testing import CliRunner, Result

from llmctl.cli import catalog
from llmctl.cli.app import App
from llmctl.cli.command_tree import leaf, program
from llmctl.cli.console.io import process_streams
from llmctl.cli.global_flags import global_options
from llmctl.cli.help import topics
from llmctl.cli.help.text import TOPICS
from tests.cli.cli_stage import ROOT, STAGE, put_on_stage

LEAVES = catalog.leaves()
GLOBAL = {name for option in global_options() for name in option.opts}

put_on_stage()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program(), list(arguments))


def manual(path: tuple[str, ...]) -> str:
    module, name = catalog.target(path)
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
def test_catalogue_is_what_there_is(path):
    entry = catalog.CATALOG[path[0]]
    text = entry.subcommands[" ".join(path[1:])] if entry.subcommands else entry.help
    assert manual(path).splitlines()[0] == f"{text}."


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_command_keeps_to_the_frame(path):
    names = [name for param in leaf(path).params for name in (*param.opts, *param.secondary_opts)]
    assert len(names) == len(set(names)), "an option is declared twice"
    assert set(names) >= GLOBAL


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_manual_has_examples_that_parse(path):
    lines = examples(manual(path))
    assert lines, "no examples"
    mine = [call for line in lines for call in calls(line) if tuple(call[: len(path)]) == path]
    assert mine, "no example of the command itself"
    for line in lines:
        for call in calls(line):
            parse(call)


def parse(call: list[str]) -> None:
    """Parse a command line without running it."""
    size = next(n for n in (3, 2, 1) if tuple(call[:n]) in LEAVES)
    app = App({}, process_streams())
    leaf(tuple(call[:size])).make_context("llmctl", call[size:], obj=app)


@pytest.mark.parametrize("topic", TOPICS)
def test_topic_has_examples_that_parse(topic):
    text = topics.text(topic)
    for line in examples(text):
        for call in calls(line):
            parse(call)
    assert run("help", topic).stdout == text


def test_sql_topic_names_every_view():
    with open(f"{ROOT}/schema/900_views.sql") as file:
        views = re.findall(r"CREATE VIEW (\w+)", file.read())
    for view in views:
        assert re.search(rf"^  {view} +\w", topics.text("sql"), re.M)


def test_unknown_command_is_exit_2_with_near_names():
    result = run("chatz")
    assert (result.exit_code, result.stderr) == (2, 'llmctl: no command "chatz"\nhint: did you mean chat, chats?\n')
    result = run("chats", "serch")
    assert (result.exit_code, result.stderr.splitlines()[1]) == (2, "hint: did you mean search?")
    assert run("help", "chatz").exit_code == 2


def test_no_arguments_is_short_help_and_exit_0():
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "llmctl init" in result.stdout
    assert len(result.stdout.splitlines()) < 15


def test_group_alone_is_its_help():
    assert run("chats").stdout == run("chats", "--help").stdout == run("help", "chats").stdout
    assert "  search  Find messages by their words\n" in run("chats").stdout


def test_help_of_a_command_keeps_its_manual_as_written():
    text = run("help", "completion").stdout
    for line in manual(("completion",)).splitlines():
        assert f"  {line}".rstrip() in text.splitlines()
    assert text == run("completion", "--help").stdout == run("completion", "-h").stdout


def test_plumbing_appears_in_help_all_only():
    assert "thread" not in run("help").stdout
    assert "    thread show " in run("help", "--all").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--db", "x", "--quiet", "--debug", "state"],
        ["state", "--db", "x", "--quiet", "--debug"],
        ["--quiet", "state", "--debug", "--db=x"],
        ["--db=y", "state", "--db", "x", "word", "--quiet", "--debug"],
    ],
)
def test_global_flags_work_before_and_after_the_command(arguments):
    assert run(*arguments).stdout == "db=x quiet=True debug=True text=\n"


def test_global_flags_behind_the_dashes_or_as_values_are_text():
    assert run("state", "--", "--debug").stdout == "db=None quiet=False debug=False text=\n"
    assert run("state", "-t", "--quiet").stdout == "db=None quiet=False debug=False text=--quiet\n"


@pytest.mark.parametrize("arguments", [["state", "--version"], ["chats", "-V"], ["--version", "nonsense"]])
def test_version_works_everywhere(arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (0, "llmctl 0.1.0\n")


@pytest.mark.parametrize("arguments", [["--help"], ["chats", "--help"], ["chats"], ["nonsense"], ["chats", "x"], []])
def test_help_and_mistakes_import_no_command(arguments):
    script = (
        "import sys; from llmctl.cli.console.io import process_streams; from llmctl.cli.main import run;"
        f"run({arguments!r}, {{}}, process_streams());"
        "print(*(name for name in sys.modules if name.startswith('llmctl.cli.commands.')), file=sys.stderr)"
    )
    done = subprocess.run([STAGE[0], "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == ""


def test_only_the_command_that_runs_is_imported():
    script = (
        "import sys; from llmctl.cli.console.io import process_streams; from llmctl.cli.main import run;"
        "run(['help', 'exit-codes'], {}, process_streams());"
        "print(*(name for name in sys.modules if name.startswith('llmctl.cli.commands.')), file=sys.stderr)"
    )
    done = subprocess.run([STAGE[0], "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.split() == ["llmctl.cli.commands.help"]
