"""``--schema``: a file, JSON, or the short form, to a JSON Schema."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from llmctl.cli.values import json_value
from llmctl.core import schema_dsl
from llmctl.core.errors import NotFoundError, UsageError


def schema_of(given: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the schema that is meant; raises UsageError for one that is none, NotFoundError for a missing file.

    A file of that name goes first; a file holds JSON or the short form.
    """
    if given is None:
        return None
    found = given if isinstance(given, Mapping) else _parsed(*_text(given))
    from llmctl.engine.turn.validate_output import check_schema  # the engine: not for help

    check_schema(found)
    return found


def _text(given: str) -> tuple[str, str]:
    """Return the text of a schema and where it is from."""
    if given.lstrip().startswith("{"):
        return given, "--schema"
    try:
        with open(given, encoding="utf-8") as file:
            return file.read(), given
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a NUL in what is no name
        if _is_path(given):
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise NotFoundError(f'cannot read "{given}": {why}') from error
    return given, "--schema"


def _is_path(given: str) -> bool:
    """Say whether words that name no readable file are meant as one."""
    return os.path.exists(given) or ((given.endswith(".json") or os.sep in given) and not set(given) & set(" ,\n:"))


def _parsed(text: str, source: str) -> Mapping[str, Any]:
    if not text.lstrip().startswith("{"):
        return schema_dsl.parse(text)
    value = json_value(text, source)
    if not isinstance(value, dict):
        raise UsageError(f'"{source}" holds no JSON Schema')
    return value
