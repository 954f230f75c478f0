"""Prompt files of ``run FILE`` and ``chat -t NAME``: default flags, and templates rendered with arguments."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.console import console as stdin
from llmctl.core import environment
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.options import TurnOptions, parse_pairs
from llmctl.core.registry import unknown_name_error
from llmctl.core.text_files import read_text_file
from llmctl.engine.agents import definition
from llmctl.engine.runtime import current_folder

_SUFFIX = ".toml"


class PromptFile:
    """A prompt file. Its values are defaults for flags that were not given."""

    def __init__(self, app: App, path: str, params: Sequence[str]) -> None:
        self._app = app
        self._folder = os.path.dirname(os.path.realpath(path))
        self.definition = definition.parse_definition(read_text_file(path), path)
        self._params = parse_pairs(params, "--param")

    def render(self, words: Sequence[str], reads_stdin: bool | None) -> tuple[str | None, str | None]:
        """Return the system prompt and the prompt. Words and stdin that no template uses are appended to the prompt."""
        app, file = self._app, self.definition
        used_names = self._template_names()
        self._check_params(used_names)
        stdin_words = tuple(word for word in words if word == "-")
        stdin_text = (
            stdin.read_prompt(stdin_words, io=app.console.io, env=app.env, note=app.console.note, stdin=reads_stdin)
            or ""
        )
        args = [stdin.replace_invalid_utf8(word, "an argument", app.console.note) for word in words if word != "-"]
        values = {"args": args, "stdin": stdin_text} | self._param_defaults() | self._params
        rest = (" ".join(args) if "args" not in used_names else "", stdin_text if "stdin" not in used_names else "")
        pieces = [_render(file.prompt or "", values, file.source).rstrip("\n"), *rest]
        prompt = "\n\n".join(piece for piece in pieces if piece.strip()) or None
        system = None if file.system is None else _render(file.system, values, file.source).rstrip("\n")
        return system, prompt

    def template_values(self) -> dict[str, Any]:
        """Return the parameters that have a value, for templates whose other variables come from elsewhere."""
        known = self._template_names() | self.definition.params.keys()
        for name in self._params:
            if name not in known or name in definition.RESERVED_PARAMS:
                raise unknown_name_error("parameter", name, known - set(definition.RESERVED_PARAMS))
        return self._param_defaults() | self._params

    def _template_names(self) -> frozenset[str]:
        texts = (self.definition.system or "", self.definition.prompt or "")
        if not any(map(_is_template, texts)):
            return frozenset()
        from llmctl.formats import templates  # imports jinja2: only for templates

        return frozenset().union(*(templates.list_variables(text, self.definition.source) for text in texts))

    def _param_defaults(self) -> dict[str, Any]:
        return {name: param.default for name, param in self.definition.params.items() if param.default is not None}

    def _check_params(self, used_names: frozenset[str]) -> None:
        """Raise UsageError for unknown and for missing parameters."""
        declared = self.definition.params
        for name in self._params:
            if name in definition.RESERVED_PARAMS or not (name in declared or name in used_names):
                raise unknown_name_error(
                    "parameter", name, (used_names | declared.keys()) - set(definition.RESERVED_PARAMS)
                )
        for name, param in declared.items():
            if param.default is None and name not in self._params:
                description = f" ({param.description})" if param.description else ""
                raise UsageError(
                    f'"{self.definition.source}" requires a value for "{name}"{description}',
                    hint=f"pass it: -p {name}=VALUE",
                    reason="missing_parameter",
                )

    def defaults_for(self, options: TurnOptions) -> TurnOptions:
        """Return the options of the file that flags override; with one of them, model and connection are theirs."""
        turn = self.definition.turn
        if options.model or options.connection:
            turn = turn.replace(model=None, connection=None)
        return turn.replace(schema=self._resolve_schema(), attach=tuple(map(self._resolve_path, turn.attach)))

    def _resolve_schema(self) -> Any:
        """Return the schema; a file name is resolved against the prompt file's folder."""
        schema = self.definition.turn.schema
        if isinstance(schema, str) and os.path.isfile(os.path.join(self._folder, schema)):
            return self._resolve_path(schema)
        return schema

    def _resolve_path(self, name: str) -> str:
        """Return the absolute path of a file; it must be in the prompt file's folder or below."""
        if name == "-" or name.startswith(("https://", "http://")):
            return name
        place = os.path.realpath(os.path.join(self._folder, name))
        if os.path.commonpath((place, self._folder)) != self._folder:
            raise UsageError(
                f'"{self.definition.source}" must not refer to "{name}" outside its folder',
                hint=f"attach it on the command line: -a {name}",
                reason="permission",
            )
        return place


def open_prompt_file(app: App, file: str | None, template: str | None, params: Sequence[str]) -> PromptFile | None:
    """Return the prompt file of ``run FILE`` or ``-t NAME``; None if neither was given."""
    if file is not None:
        return PromptFile(app, find_prompt_file(app.env, file, prefers_path=True), params)
    if template is not None:
        return PromptFile(app, find_prompt_file(app.env, template), params)
    if params:
        raise UsageError("--param requires a prompt file", hint="pass one with -t, or use llmctl run")
    return None


# --- where prompt files are


def user_folder(env: Mapping[str, str]) -> str | None:
    """Return the user's own folder of prompt files; None without a home folder."""
    config = environment.config_folder(env)
    return f"{config}/prompts" if config else None


def find_prompt_file(env: Mapping[str, str], name: str, *, prefers_path: bool = False) -> str:
    """Return the path of a prompt file that is given by path or by name; NotFoundError names similar ones.

    A name is looked for first, then a path; with ``prefers_path`` a file of that path comes first.
    """
    is_path = os.sep in name or name.endswith(_SUFFIX)
    exists = os.path.exists(name) and not os.path.isdir(name)
    if exists and (is_path or prefers_path):
        return name
    stored = environment.list_prompt_files(env, current_folder())
    path = stored.get(name.removesuffix(_SUFFIX))
    if path is not None:
        return path
    if is_path or exists:
        return name
    error = unknown_name_error("prompt file", name, stored, error=NotFoundError)
    error.hint = error.hint or f"create it: llmctl prompts edit {shlex.quote(name)}"
    raise error


def _is_template(text: str) -> bool:
    return any(mark in text for mark in ("{{", "{%", "{#"))


def _render(text: str, values: Mapping[str, Any], source: str) -> str:
    if not _is_template(text):
        return text
    from llmctl.engine import template_limits

    return template_limits.render(text, values, source)
