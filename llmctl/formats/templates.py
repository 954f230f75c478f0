"""Templates of prompts, instructions and pages: jinja2 in its sandbox, with an error for each missing value.

https://jinja.palletsprojects.com/en/stable/sandbox/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    UndefinedError,
    meta,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmctl.core.errors import LlmctlError, UsageError

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
)
_NAME = re.compile(r"'(\w+)' is undefined")
_FOLDER = Path(__file__).parent
_ELEMENT = re.compile(r"has no element (\d+)")


def list_variables(text: str, source: str) -> frozenset[str]:
    """Return the names of a template's variables; raise UsageError with ``source`` and line for a syntax error."""
    try:
        return frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(text)))
    except TemplateSyntaxError as error:
        raise _syntax_error(error, source) from error


def render(text: str, values: Mapping[str, Any], source: str) -> str:
    """Render a template; raise UsageError for a missing value and for any other error in it."""
    try:
        return _ENVIRONMENT.from_string(text).render(values)
    except TemplateSyntaxError as error:
        raise _syntax_error(error, source) from error
    except UndefinedError as error:
        raise _missing_value_error(error.message or "a value is missing", source) from error
    except (
        TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise UsageError(f'cannot render "{source}": {error}', reason="template") from error


def render_html(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield one of llmctl's HTML templates (a path below ``formats/``) piece by piece, with all values escaped."""
    yield from _html_environment().get_template(name).generate(**values)


@cache
def read_style(name: str) -> str:
    """Return one of llmctl's style sheets (a path below ``formats/``)."""
    return (_FOLDER / name).read_text(encoding="utf-8")


@cache
def _html_environment() -> Environment:
    return _ENVIRONMENT.overlay(autoescape=True, loader=FileSystemLoader(_FOLDER))


def _syntax_error(error: TemplateSyntaxError, source: str) -> LlmctlError:
    what = (error.message or "").rstrip(".")
    return UsageError(f'template error in "{source}", line {error.lineno}: {what}', reason="template")


def _missing_value_error(message: str, source: str) -> LlmctlError:
    if found := _NAME.search(message):
        name = found[1]
        hint = f"pass it: -p {name}=VALUE"
        return UsageError(f'"{source}" requires a value for "{name}"', hint=hint, reason="missing_parameter")
    if found := _ELEMENT.search(message):
        number = int(found[1]) + 1
        return UsageError(
            f'"{source}" requires argument {number}', hint="pass it after the file", reason="missing_parameter"
        )
    return UsageError(f'cannot render "{source}": {message}', reason="template")
