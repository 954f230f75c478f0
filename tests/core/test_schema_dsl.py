"""The short form of a JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.core.errors import UsageError
from llmctl.core.schema_dsl import parse

STR, INT, NUM, BOOL = ({"type": name} for name in ("string", "integer", "number", "boolean"))


def obj(required: str | None = None, **properties: Any) -> dict[str, Any]:
    names = list(properties) if required is None else required.split()
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("name", obj(name=STR)),
        ("name, age int, tags [str]", obj(name=STR, age=INT, tags={"type": "array", "items": STR})),
        ("a str, b string, c float, d number, e bool", obj(a=STR, b=STR, c=NUM, d=NUM, e=BOOL)),
        (
            "age int: in years, name: whole",
            obj(age=INT | {"description": "in years"}, name=STR | {"description": "whole"}),
        ),
        ("name: first, last\nage int", obj(name=STR | {"description": "first, last"}, age=INT)),
        ("\n name,\n\n age int,\n", obj(name=STR, age=INT)),
        ("a?, b int?, c", obj("c", a=STR, b=INT, c=STR)),
        ("state (open|done): now", obj(state={"type": "string", "enum": ["open", "done"], "description": "now"})),
        ("who {name, age int}, n int", obj(who=obj(name=STR, age=INT), n=INT)),
        (
            "items [{\n  sku\n  price float: net, in EUR\n}]\ntotal float",
            obj(
                items={"type": "array", "items": obj(sku=STR, price=NUM | {"description": "net, in EUR"})},
                total=NUM,
            ),
        ),
        (
            "rows [[int]], words []",
            obj(
                rows={"type": "array", "items": {"type": "array", "items": INT}}, words={"type": "array", "items": STR}
            ),
        ),
        ("größe float", obj(größe=NUM)),
    ],
)
def test_short_form_is_read(text: str, schema: dict[str, Any]) -> None:
    assert parse(text) == schema


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", "no field"),
        (" , ", "no field"),
        ("age foo", '"foo"'),
        ("name int extra", '"extra"'),
        ("1x", '"1x"'),
        ("a, a int", '"a" twice'),
        ("a [int", "at the end"),
        ("a {b int", "at the end"),
        ("a ]", '"]"'),
        ("a (open", "at the end"),
    ],
)
def test_what_cannot_be_read_is_quoted(text: str, quoted: str) -> None:
    with pytest.raises(UsageError, match="schema") as failed:
        parse(text)
    assert quoted in failed.value.message
