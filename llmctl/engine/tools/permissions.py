"""May this call run? Read from the permission, the remembered rules and what the user said for this turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from llmctl.core.stored_json import dumps
from llmctl.engine.tools.toolset import Grant


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to happen with a call, and who says so: permission, rule, flag, user, expiry."""

    effect: Literal["allow", "ask", "deny"]
    by: str
    because: str | None = None

    def as_decision(self, at: str) -> dict[str, Any]:
        """Return it as the column ``decision`` has it."""
        found = {"effect": self.effect, "by": self.by, "at": at, "because": self.because}
        return {name: value for name, value in found.items() if value}


def judge(
    grant: Grant, arguments: Mapping[str, Any], rules: Iterable[Mapping[str, Any]], approved: Iterable[str]
) -> Verdict:
    """Return the verdict. What denies comes first; nobody's approval overrides it."""
    if grant.permission == "denied":
        return Verdict("deny", "permission")
    effects = {rule["effect"] for rule in rules if matches(rule["arguments_rule"], arguments, rule["effect"])}
    if "deny" in effects:
        return Verdict("deny", "rule")
    if grant.permission == "automatic":
        return Verdict("allow", "permission")
    if "allow" in effects:
        return Verdict("allow", "rule")
    if grant.tool.name in approved:
        return Verdict("allow", "flag")
    return Verdict("ask", "permission")


def matches(rule: Any, arguments: Mapping[str, Any], effect: str) -> bool:
    """Say whether arguments are those that a rule speaks of.

    ``{}``: any; ``{"glob": {"path": "src/*"}}``: each named argument fits its pattern; ``{"schema": ...}``: they meet
    a JSON Schema. In doubt a rule that denies holds, and one that allows does not.
    """
    if not isinstance(rule, dict) or set(rule) - {"glob", "schema"}:
        return effect == "deny"
    globs = rule.get("glob") or {}
    if not all(_fits(arguments.get(name), pattern, effect) for name, pattern in globs.items()):
        return False
    if "schema" not in rule:
        return True
    from llmctl.core.errors import UsageError
    from llmctl.tools import json_schema

    try:
        return not json_schema.errors(rule["schema"], dict(arguments))
    except UsageError:
        return effect == "deny"


def _fits(value: Any, pattern: str, effect: str) -> bool:
    """Match one argument. Where a pattern allows, a path that climbs (``src/../x``) fits nothing but itself."""
    text = value if isinstance(value, str) else dumps(value)
    if effect == "allow" and ".." in text.split("/") and text != pattern:
        return False
    return fnmatchcase(text, pattern)
