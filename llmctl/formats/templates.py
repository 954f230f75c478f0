"""Templates of prompts and instructions: jinja2 in its sandbox, where what is missing is an error that names it.

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
    Template,
    TemplateError,
    TemplateSyntaxError,
    UndefinedError,
    meta,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmctl.core.errors import LlmctlError, UsageError
from llmctl.formats.pages import PAGES

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
)
_NAME = re.compile(r"'(\w+)' is undefined")
_ELEMENT = re.compile(r"has no element (\d+)")


def names(text: str, source: str) -> frozenset[str]:
    """Return the names that a template asks for. Raises UsageError, with ``source`` and line, for one that is none."""
    try:
        return frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(text)))
    except TemplateSyntaxError as error:
        raise _broken(error, source) from error


def render(text: str, values: Mapping[str, Any], source: str) -> str:
    """Fill in a template. Raises UsageError for a value that is missing, and for whatever else goes wrong in it."""
    try:
        return _ENVIRONMENT.from_string(text).render(values)
    except TemplateSyntaxError as error:
        raise _broken(error, source) from error
    except UndefinedError as error:
        raise _missing(error.message or "something is missing", source) from error
    except (
        TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise UsageError(f'"{source}" cannot be filled in: {error}', reason="template") from error


def page(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a page of HTML piece by piece: one of ours, filled with values, everything in them escaped."""
    yield from _page(name).generate(**values)


def document(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield one of the report's templates, filled with values, everything in them escaped."""
    yield from _documents().get_template(name).generate(**values)


@cache
def _page(name: str) -> Template:
    return _ENVIRONMENT.overlay(autoescape=True).from_string(PAGES[name])


@cache
def _documents() -> Environment:
    return _ENVIRONMENT.overlay(autoescape=True, loader=FileSystemLoader(Path(__file__).with_name("report")))


def _broken(error: TemplateSyntaxError, source: str) -> LlmctlError:
    what = (error.message or "").rstrip(".")
    return UsageError(f'"{source}" is no template: {what} (line {error.lineno} of it)', reason="template")


def _missing(message: str, source: str) -> LlmctlError:
    if found := _NAME.search(message):
        name = found[1]
        hint = f"pass it with: -p {name}=VALUE"
        return UsageError(f'"{source}" needs a value for "{name}"', hint=hint, reason="missing_parameter")
    if found := _ELEMENT.search(message):
        number = int(found[1]) + 1
        return UsageError(
            f'"{source}" needs argument {number}', hint="give it after the file", reason="missing_parameter"
        )
    return UsageError(f'"{source}" cannot be filled in: {message}', reason="template")
