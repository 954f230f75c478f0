"""May this call run? Permission, rules and flags against each other."""

from __future__ import annotations

from typing import Any

import pytest

from llmctl.core.tools import Permission, Tool
from llmctl.engine.runtime import ToolGrant, Toolset
from llmctl.engine.tools.authorize import decide, rule_matches
from llmctl.engine.tools.toolset import parse_grant

SCHEMA = {"schema": {"properties": {"n": {"maximum": 3}}, "required": ["n"]}}


def rule(effect: str, **rule: Any) -> dict[str, Any]:
    return {"effect": effect, "arguments_rule": rule}


@pytest.mark.parametrize(
    ("permission", "rules", "approved", "effect", "by"),
    [
        ("automatic", [], (), "allow", "permission"),
        ("user-permitted", [], (), "ask", "permission"),
        ("denied", [], (), "deny", "permission"),
        ("user-permitted", [], ("t",), "allow", "flag"),
        ("denied", [rule("allow")], ("t",), "deny", "permission"),
        ("user-permitted", [rule("allow")], (), "allow", "rule"),
        ("user-permitted", [rule("allow"), rule("deny")], ("t",), "deny", "rule"),
        ("automatic", [rule("deny")], (), "deny", "rule"),
        ("user-permitted", [rule("allow", glob={"path": "src/*"})], (), "ask", "permission"),
    ],
)
def test_what_denies_comes_first(
    permission: Permission, rules: list[dict[str, Any]], approved: tuple[str, ...], effect: str, by: str
) -> None:
    verdict = decide(ToolGrant(Tool("t", "builtin"), permission), {"path": "etc/x"}, rules, approved)
    assert (verdict.effect, verdict.by) == (effect, by)


@pytest.mark.parametrize(
    ("rule", "arguments", "allows", "denies"),
    [
        ({}, {"any": 1}, True, True),
        ({"glob": {"path": "src/*"}}, {"path": "src/a.py"}, True, True),
        ({"glob": {"path": "src/*"}}, {"path": "etc/a"}, False, False),
        ({"glob": {"path": "src/*"}}, {}, False, False),
        ({"glob": {"path": "src/*"}}, {"path": "src/../etc/passwd"}, False, True),
        ({"glob": {"path": "*"}}, {"path": ".."}, False, True),
        ({"glob": {"command": "git log*"}}, {"command": "git log\nrm -rf /"}, True, True),
        ({"glob": {"n": "3"}}, {"n": 3}, True, True),
        (SCHEMA, {"n": 2}, True, True),
        (SCHEMA, {"n": 4}, False, False),
        ({"schema": {"type": "nonsense"}}, {}, False, True),
        ({"regex": ".*"}, {}, False, True),
        ([], {}, False, True),
    ],
)
def test_in_doubt_a_rule_denies_and_allows_nothing(rule: Any, arguments: Any, allows: bool, denies: bool) -> None:
    assert rule_matches(rule, arguments, "allow") is allows
    assert rule_matches(rule, arguments, "deny") is denies


def test_denied_tools_are_not_sent_to_the_model() -> None:
    tools = Toolset((ToolGrant(Tool("a", "builtin"), "automatic"), ToolGrant(Tool("b", "builtin"), "denied")))
    assert [spec.name for spec in tools.specs()] == tools.names() == ["a"]
    assert tools.stored_permissions() == {}  # they are in no hub


def test_permissions_have_short_names() -> None:
    assert [parse_grant(text) for text in ("a", "a:auto", "a:ask", "a:deny")] == [
        ("a", "user-permitted"),
        ("a", "automatic"),
        ("a", "user-permitted"),
        ("a", "denied"),
    ]
