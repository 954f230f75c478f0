"""Templates of prompts, instructions and pages: jinja2 in its sandbox, with an error for each missing value.

https://jinja.palletsprojects.com/en/stable/sandbox/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
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
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmctl.core.errors import LlmctlError, UsageError

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
)
#: What a linear template is made of; calls, arithmetic, blocks and assignments are not among it.
_LINEAR_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.Filter, nodes.Test, nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.For, nodes.Concat, nodes.List, nodes.Tuple, nodes.Keyword,
)  # fmt: skip
_LINEAR_FILTERS = frozenset(
    word
    for line in (
        "capitalize count d default e escape first float int join last length list lower",
        "safe sort string title tojson trim unique upper urlencode wordcount",
    )
    for word in line.split()
)
_MAX_CONSTANT = 100
_RENDER_ERRORS = (
    *(TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError),
    SyntaxError,  # more blocks in each other than Python compiles
)
_NAME = re.compile(r"'(\w+)' is undefined")
_FOLDER = Path(__file__).parent
_ELEMENT = re.compile(r"has no element (\d+)")


def list_variables(text: str, source: str) -> frozenset[str]:
    """Return the names of a template's variables; raise UsageError with ``source`` and line for a syntax error."""
    tree = _parse(text, source)
    if _is_linear(tree):
        return frozenset(meta.find_undeclared_variables(tree))
    # jinja2 would compute constant expressions here
    names = {name.name: name.ctx for name in sorted(tree.find_all(nodes.Name), key=lambda name: name.ctx != "load")}
    return frozenset(name for name, ctx in names.items() if ctx == "load") - _ENVIRONMENT.globals.keys()


def is_linear(text: str, source: str) -> bool:
    """Whether a template only puts its values in place, so that time and memory are those of text and values."""
    return _is_linear(_parse(text, source))


def too_large_message(source: str) -> str:
    return f'cannot render "{source}": it takes too much memory'


def _parse(text: str, source: str) -> nodes.Template:
    try:
        return _ENVIRONMENT.parse(text)
    except TemplateSyntaxError as error:
        raise _syntax_error(error, source) from error
    except RecursionError:
        raise UsageError(f'template error in "{source}": it is nested too deeply', reason="template") from None


def _is_linear(tree: nodes.Template) -> bool:
    return (
        all(isinstance(node, _LINEAR_NODES) for node in tree.find_all(nodes.Node))
        and all(node.name in _LINEAR_FILTERS and _has_small_arguments(node) for node in tree.find_all(nodes.Filter))
        and not any(inner is not loop for loop in tree.find_all(nodes.For) for inner in loop.find_all(nodes.For))
    )


def _has_small_arguments(node: nodes.Filter) -> bool:
    """Whether the arguments of a filter are constants: the text of one could be repeated for each character."""
    values = [*node.args, *(keyword.value for keyword in node.kwargs)]
    return all(isinstance(value, nodes.Const) and _is_small(value.value) for value in values)


def _is_small(value: Any) -> bool:
    size = len(value) if isinstance(value, str) else abs(value) if isinstance(value, int | float) else 0
    return size <= _MAX_CONSTANT


def render(text: str, values: Mapping[str, Any], source: str) -> str:
    """Render a template; raise UsageError for a missing value and for any other error in it."""
    return compile_template(text, source)(values)


def compile_template(text: str, source: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what renders a template again and again, as :func:`render` does."""
    try:
        template = _ENVIRONMENT.from_string(text)
    except TemplateSyntaxError as error:
        raise _syntax_error(error, source) from error
    except _RENDER_ERRORS as error:
        raise UsageError(f'cannot render "{source}": {error}', reason="template") from error

    def render_values(values: Mapping[str, Any]) -> str:
        try:
            return template.render(values)
        except UndefinedError as error:
            raise _missing_value_error(error.message or "a value is missing", source) from error
        except _RENDER_ERRORS as error:
            raise UsageError(f'cannot render "{source}": {error}', reason="template") from error

    return render_values


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
