"""Values against JSON Schemas, in words for a person or a model."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.core.errors import UsageError
from llmctl.tools import json_schema

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1},
        "days": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ({"city": "Rome"}, []),
        ({"city": "Rome", "days": [1, "x"]}, ['/days/1: "x" is not of type "integer"']),
        ({}, ['"city" is a required property']),
        ("Rome", ['"Rome" is not of type "object"']),
    ],
)
def test_errors_name_the_place_and_the_reason(value: Any, lines: list[str]) -> None:
    assert json_schema.find_errors(WEATHER, value) == lines


def test_errors_are_few_and_short() -> None:
    found = json_schema.find_errors({"items": {"type": "integer"}}, ["x" * 1000] * 1000)
    assert len(found) == 10
    assert max(map(len, found)) < 320


@pytest.mark.parametrize(
    "schema",
    [[1], "x", None, {"type": "nonsense"}, {"pattern": "("}, {"$ref": "#/nowhere"}],
    ids=str,
)
def test_what_is_no_schema_is_said(schema: Any) -> None:
    with pytest.raises(UsageError):
        json_schema.validate_schema(schema)


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/schema", "file:///etc/passwd"])
def test_a_reference_to_the_outside_is_not_followed(place: str) -> None:
    with pytest.raises(UsageError, match="outside the schema"):
        json_schema.validate_schema({"$ref": place})


def test_pattern_with_exponential_backtracking_is_given_up() -> None:
    """Python's ``re`` would take longer than the universe has existed."""
    assert json_schema.find_errors({"pattern": "^(a+)+$"}, "a" * 60 + "b")


def test_half_a_character_is_no_crash() -> None:
    with pytest.raises(UsageError, match="cannot validate the value"):
        json_schema.find_errors({"type": "string"}, "\ud800")
