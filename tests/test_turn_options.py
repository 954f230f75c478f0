"""Every option of a turn, through every door it may be set by: a good value is taken, a bad one refused in one way."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from llmctl import Hub
from llmctl.api.agent import Agent, _definition_keys
from llmctl.api.ask_options import AskOptions, to_turn_options
from llmctl.cli.command_tree import build_command
from llmctl.core.errors import UsageError
from llmctl.core.options import SETTINGS, TURN_OPTIONS, Option, options_for
from llmctl.engine.agents.definition import KEYS, parse_definition
from tests.harness import RunInProcess

DOORS = ("flag", "file", "python", "setting")
CASES = [(entry.name, door) for entry in TURN_OPTIONS.values() for door in DOORS if door in entry.doors]


def good_value(entry: Option) -> Any:
    """Return a value that the option takes, as a file or a program gives it."""
    by_name = {"attach": ["file.txt"], "schema": "name, age int", "model": "echo", "connection": "echo"}
    if entry.name in by_name:
        return by_name[entry.name]
    by_kind: dict[str, Any] = {
        "expiry": "7d",
        "switch": True,
        "tristate": True,
        "pairs": {"key": "value"},
        "list": ["name"],
        "text": "text",
    }
    return by_kind.get(entry.kind) or (entry.choices[0] if entry.choices else 3)


def bad_value(entry: Option) -> Any:
    """Return a value that the option refuses."""
    if entry.choices:
        return "cheese"
    return {"integer": -5, "number": -5, "text": "", "expiry": "soon"}.get(entry.kind, 3)


def flag_words(entry: Option, value: Any) -> list[str]:
    flag = entry.flags[0].partition("/")[0]
    if entry.kind in ("switch", "tristate"):
        return [flag]
    texts = [f"{k}={v}" for k, v in value.items()] if isinstance(value, Mapping) else value
    return [f"{flag}={text}" for text in (texts if isinstance(texts, list) else [texts])]


def capture_flags(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    captured: list[Any] = []

    class Capture:
        def __init__(self, app: object, args: object, flags: object) -> None:
            captured.append(flags)

        def run(self) -> None:
            pass

    monkeypatch.setattr("llmctl.cli.turn.chat.ChatCommand", Capture)
    return captured


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


@pytest.mark.parametrize(("name", "door"), CASES)
def test_good_value_is_taken(
    name: str,
    door: str,
    monkeypatch: pytest.MonkeyPatch,
    llmctl_in_process: RunInProcess,
) -> None:
    entry = TURN_OPTIONS[name]
    value = good_value(entry)
    expected = check_type(entry, value)
    if door == "flag":
        captured = capture_flags(monkeypatch)
        for command in (["chat"], ["run", "file.toml"], ["agent", "run", "helper"]):
            done = llmctl_in_process(*command, *flag_words(entry, value))
            assert done.returncode == 0, done.stderr
        assert [getattr(flags, name) for flags in captured] == [expected] * 3
        assert all(set(flags.to_dict()) == {name} for flags in captured)
    elif door == "file":
        definition = parse_definition(f"{name} = {toml(value)}", "x.toml")
        assert definition.turn.to_dict() == {name: expected}
    elif door == "python" and name in ("attach", "tools"):  # these may be bytes and functions: build_plan takes them
        assert (entry.keyword or name) in AskOptions.__annotations__
    elif door == "python":
        options: Any = {entry.keyword or name: value}
        taken = to_turn_options(options)
        if name == "schema":
            assert taken.schema["properties"].keys() == {"name", "age"}
        else:
            assert getattr(taken, name) == (not expected if name == f"no_{entry.keyword}" else expected)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        assert llmctl_in_process("init", "--no-detect", "--no-prisma").returncode == 0
        assert llmctl_in_process("settings", "set", name, text).returncode == 0
        assert llmctl_in_process("settings", "get", name, "--json").json["value"] == value


def check_type(entry: Option, value: Any) -> Any:
    if entry.kind == "words":
        return frozenset([value])
    return tuple(value) if entry.kind == "list" else value


def can_be_invalid(entry: Option, door: str) -> bool:
    """Whether there is a value that the option refuses: a flag, say, makes a list of anything."""
    if door == "flag":
        return entry.kind not in ("switch", "tristate", "list", "schema")
    return not (door == "python" and entry.name in ("attach", "tools", "schema"))


BAD_CASES = [(name, door) for name, door in CASES if can_be_invalid(TURN_OPTIONS[name], door)]


@pytest.mark.parametrize(("name", "door"), BAD_CASES)
def test_bad_value_is_refused_with_the_same_words(
    name: str, door: str, llmctl_in_process: RunInProcess, tmp_path: Path
) -> None:
    entry = TURN_OPTIONS[name]
    value, words = bad_value(entry), words_of(entry, door)
    if door == "flag":
        label, text = entry.flags[0], "nonsense" if entry.kind == "pairs" else str(value)
        for command in (["chat"], ["run", "file.toml"], ["agent", "run", "helper"]):
            done = llmctl_in_process(*command, f"{label}={text}")
            assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"llmctl: {label} {words}")
    elif door == "file":
        path = tmp_path / "x.toml"
        path.write_text(f"{name} = {toml(value)}")
        for command in (["run"], ["agent", "apply"]):
            done = llmctl_in_process(*command, str(path))
            assert (done.returncode, done.stderr.splitlines()[0]) == (2, f'llmctl: "{path}": {name} {words}')
    elif door == "python":
        keyword = entry.keyword or name
        options: Any = {keyword: value}
        with pytest.raises(UsageError) as caught:
            to_turn_options(options)
        assert str(caught.value) == f"{keyword} {words}"
    else:
        text = "nonsense" if entry.kind == "switch" else str(value)
        done = llmctl_in_process("settings", "set", name, "--", text)
        expected = words.replace('"3"', '"nonsense"')
        assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"llmctl: {name} {expected}")


def words_of(entry: Option, door: str) -> str:
    """Return what an error says of the bad value after the name of the option."""
    if entry.kind == "text":
        return "must not be empty"
    if entry.kind == "pairs":
        return 'must be K=V, got "nonsense"' if door == "flag" else 'must be a table, got "3"'
    return f'must be {entry.requirement}, got "{bad_value(entry)}"'


def test_every_option_has_cases_for_all_its_doors() -> None:
    assert len(CASES) == sum(len(entry.doors) for entry in TURN_OPTIONS.values()) > 60
    accepting = set(TURN_OPTIONS) - {name for name, _ in BAD_CASES}
    assert {TURN_OPTIONS[name].kind for name in accepting} <= {"switch", "tristate", "list"}
    assert len(BAD_CASES) > 40


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("max_cost", -1, 'max_cost must be 0 or more, got "-1"'),
        ("retries", -5, 'retries must be 0 or more, got "-5"'),
        ("fix", -1, 'fix must be 0 or more, got "-1"'),
        ("history", -3, 'history must be 0 or more, got "-3"'),
        ("max_steps", 0, 'max_steps must be 1 or more, got "0"'),
    ],
)
def test_python_program_gets_the_same_error(keyword: str, value: Any, message: str) -> None:
    with Hub(":memory:", env={"HOME": os.fspath("/nowhere")}) as hub:
        chat = hub.create_chat(model="echo")
        options: Any = {keyword: value}
        with pytest.raises(UsageError) as caught:
            chat.ask("hi", **options)
        assert str(caught.value) == message
        assert hub.query("SELECT count(*) AS n FROM requests") == [{"n": 0}]


def test_keywords_of_the_python_api_are_those_of_the_table() -> None:
    own = {"instructions", "inputs"}
    table = {entry.keyword or entry.name for entry in options_for("python")}
    assert set(get_type_hints(AskOptions)) == table | own


def test_attributes_of_agent_classes_are_those_of_the_table() -> None:
    hints = {name for name, hint in get_type_hints(Agent).items() if get_args(hint)}
    assert hints - {"name", "instructions", "tools"} == set(_definition_keys())


def test_keys_of_files_and_settings_are_those_of_the_table() -> None:
    own = {"name", "description", "system", "instructions", "prompt", "params", "agents", "no_log"}
    assert set(KEYS) == own | {entry.name for entry in options_for("file")}
    assert {entry.name for entry in options_for("setting")} <= set(SETTINGS)


@pytest.mark.parametrize("command", [("chat",), ("run",), ("agent", "run")])
def test_flags_of_the_commands_are_those_of_the_table(command: tuple[str, ...]) -> None:
    groups: dict[str, str | None] = {}
    for parameter in build_command(command).params:
        names = [*parameter.opts, *parameter.secondary_opts]
        groups |= dict.fromkeys(names, getattr(parameter, "rich_help_panel", None))
    flags = {flag: entry.group for entry in options_for("flag") for flag in "/".join(entry.flags).split("/")}
    assert flags.items() <= groups.items()
