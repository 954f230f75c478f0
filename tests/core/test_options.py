"""The option table: values from texts and from programs, their errors, and sets of them laid over each other."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.core.errors import UsageError
from llmctl.core.options import (
    GROUPS,
    TURN_OPTIONS,
    OptionSet,
    TurnOptions,
    check_value,
    option,
    options_for,
    parse_pairs,
    parse_text,
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("retries", "0", 0),
        ("timeout", "2.5", 2.5),
        ("timeout", "30", 30),
        ("thinking", "high", "high"),
        ("thinking", "1024", 1024),
        ("rollback", "Yes", True),
        ("rollback", "off", False),
        ("no_persist", "network, streams", frozenset({"network", "streams"})),
        ("options", "temperature=0.2", {"temperature": 0.2}),
        ("metadata", "ticket=42", {"ticket": "42"}),
        ("metadata", "ticket:=42", {"ticket": 42}),
        ("fallback", "a,b", ("a", "b")),
    ],
)
def test_text_is_parsed_to_the_type_of_its_option(name: str, text: str, value: Any) -> None:
    parsed = parse_text(TURN_OPTIONS[name], text, name)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("retries", "-5", '--retries must be 0 or more, got "-5"'),
        ("retries", "2.5", '--retries must be a whole number, got "2.5"'),
        ("max_steps", "0", '--max-steps must be 1 or more, got "0"'),
        ("timeout", "0", '--timeout must be greater than 0, got "0"'),
        ("timeout", "nan", '--timeout must be greater than 0, got "nan"'),
        ("timeout", "1e10", '--timeout must be at most 1,000,000,000, got "1e+10"'),
        ("max_cost", "inf", '--max-cost must be a finite number, got "inf"'),
        ("thinking", "lots", '--thinking must be none, low, medium, high or a number of tokens, got "lots"'),
        (
            "no_persist",
            "network,cheese",
            '--no-persist must be one or more of tool-calls, requests, network, streams, got "cheese"',
        ),
        ("model", "", "--model must not be empty"),
        ("options", "temperature", '--option must be K=V, got "temperature"'),
    ],
)
def test_invalid_text_is_refused(name: str, text: str, message: str) -> None:
    entry = TURN_OPTIONS[name]
    with pytest.raises(UsageError) as caught:
        parse_text(entry, text, entry.flags[0])
    assert caught.value.message == message


@pytest.mark.parametrize("value", [True, "3", 2.0, None, [1]])
def test_value_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^retries must be a whole number, got "):
        check_value(TURN_OPTIONS["retries"], value, "retries")


def test_error_masks_what_looks_like_a_key() -> None:
    with pytest.raises(UsageError) as caught:
        parse_pairs(["sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"], "--header")
    assert "abcdefghijklmnop" not in caught.value.message


def test_option_that_is_not_given_reads_as_its_default() -> None:
    options = TurnOptions()
    assert (options.retries, options.max_steps, options.fix, options.timeout) == (2, 20, 0, None)
    assert (options.tools, options.metadata, options.no_persist, options.rollback) == ((), {}, frozenset(), False)
    assert options.to_dict() == {}


def test_options_over_others_win_and_tables_sets_and_appending_lists_are_joined() -> None:
    lower = TurnOptions(
        retries=5, options={"a": 1, "b": 1}, attach=("x",), fallback=("m",), no_persist=frozenset({"network"})
    )
    upper = TurnOptions(
        retries=0, options={"b": 2}, attach=("y",), fallback=("n",), no_persist=frozenset({"streams"}), tag="t"
    )
    merged = upper.over(lower)
    assert (merged.retries, merged.options, merged.attach) == (0, {"a": 1, "b": 2}, ("x", "y"))
    assert (merged.fallback, merged.no_persist, merged.tag) == (("n",), {"network", "streams"}, "t")
    assert TurnOptions().over(lower) == lower == lower.over(TurnOptions())


def test_options_are_immutable_and_known() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        TurnOptions().retries = 3
    with pytest.raises(TypeError, match="no option cheese"):
        TurnOptions(cheese=1)
    assert TurnOptions(retries=3, tag="x").replace(retries=None) == TurnOptions(tag="x")


def test_table_is_complete() -> None:
    assert len(TURN_OPTIONS) > 25
    #: What a repeated --model gives; nobody sets it.
    given = [entry for entry in TURN_OPTIONS.values() if entry.name != "models"]
    for entry in given:
        assert entry.doors, entry
        assert entry.doors <= {"flag", "file", "python", "setting"}, entry
        assert entry.group in GROUPS, entry
        assert entry.help.endswith((".", "]")), entry
        assert bool(entry.metavar) == (entry.kind not in ("switch", "tristate")), entry
    assert {entry.name for entry in options_for("flag")} == {entry.name for entry in given}
    spellings = [flag for entry in TURN_OPTIONS.values() for flag in entry.flags]
    assert len(spellings) == len(set(spellings))


def test_new_option_is_one_entry() -> None:
    class Example(OptionSet):
        seed: int | None = option("Seed of the sampling.", kind="integer", metavar="N", minimum=0, short="-S")

    entry = Example.OPTIONS["seed"]
    assert (entry.name, entry.flags, Example().seed, Example(seed=3).seed) == ("seed", ("--seed", "-S"), None, 3)
