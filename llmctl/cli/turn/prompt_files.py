"""Prompt files: what ``run FILE`` and ``chat -t NAME`` take from one, and what the command line puts into it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from llmctl.cli import stdin
from llmctl.cli.app import App
from llmctl.cli.values import pairs
from llmctl.core import paths
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.registry import unknown
from llmctl.core.stored_json import dumps
from llmctl.engine.agents import definition

#: Keys of a file that are flags too: those with a value, and those that are on or off.
_VALUES = ("model", "connection", "fix", "thinking", "max_cost", "max_steps", "history", "timeout", "retries", "tag")
_SWITCHES = ("extract", "no_stream")


class PromptFile:
    """One prompt file. Its values fill in for the flags that were not given."""

    def __init__(self, app: App, path: str, params: Sequence[str]) -> None:
        self._app = app
        self._folder = os.path.dirname(os.path.realpath(path))
        self.definition = definition.parse(_read(path), path)
        self._params = pairs(params, "-p")
        self._fill_in()

    def rendered(self, words: Sequence[str], reads_stdin: bool | None) -> tuple[str | None, str | None]:
        """Return system prompt and prompt. Words and stdin that the templates do not name follow the prompt."""
        app, file = self._app, self.definition
        named = self._names()
        self._check_params(named)
        dash = tuple(word for word in words if word == "-")
        piped = stdin.read_prompt(dash, io=app.io, env=app.env, note=app.note, stdin=reads_stdin) or ""
        args = [stdin.clean(word, "an argument", app.note) for word in words if word != "-"]
        values = {"args": args, "stdin": piped} | self._defaults() | self._params
        rest = (" ".join(args) if "args" not in named else "", piped if "stdin" not in named else "")
        pieces = [_render(file.prompt or "", values, file.source).rstrip("\n"), *rest]
        prompt = "\n\n".join(piece for piece in pieces if piece.strip()) or None
        system = None if file.system is None else _render(file.system, values, file.source).rstrip("\n")
        return system, prompt

    def _names(self) -> frozenset[str]:
        texts = (self.definition.system or "", self.definition.prompt or "")
        if not any(map(_is_template, texts)):
            return frozenset()
        from llmctl.formats import templates  # jinja2: only for those who have a template

        return frozenset().union(*(templates.names(text, self.definition.source) for text in texts))

    def _defaults(self) -> dict[str, Any]:
        return {name: param.default for name, param in self.definition.params.items() if param.default is not None}

    def _check_params(self, named: frozenset[str]) -> None:
        """Refuse values that nothing asks for, and miss those that have to be given."""
        declared = self.definition.params
        for name in self._params:
            if name in definition.GIVEN or not (name in declared or name in named):
                raise unknown("parameter", name, (named | declared.keys()) - set(definition.GIVEN))
        for name, param in declared.items():
            if param.default is None and name not in self._params:
                what = f" ({param.description})" if param.description else ""
                raise UsageError(
                    f'"{self.definition.source}" needs a value for "{name}"{what}',
                    hint=f"pass it with: -p {name}=VALUE",
                    reason="missing_parameter",
                )

    def _fill_in(self) -> None:
        """Let the file's values stand where the command line says nothing."""
        file, flags = self.definition, self._app.asking
        given = {name: getattr(file, name) for name in _VALUES} | {"schema": self._schema()}
        if flags["model"] or flags["connection"]:
            given |= {"model": None, "connection": None}
        if isinstance(file.thinking, int):
            given["thinking"] = str(file.thinking)
        flags |= {name: value for name, value in given.items() if flags.get(name) is None}
        flags |= {name: True for name in _SWITCHES if getattr(file, name)}
        flags["fallback"] = flags["fallback"] or list(file.fallback)
        flags["attach"] = [*map(self._place, file.attach), *flags["attach"]]
        flags["tool"] = [*file.tools, *flags["tool"]]
        for flag, values in (("option", file.options), ("metadata", file.metadata)):
            flags[flag] = [*_as_pairs(values), *flags[flag]]

    def _schema(self) -> str | Mapping[str, Any] | None:
        """Return the schema, a file's name as seen from here."""
        schema = self.definition.schema
        if isinstance(schema, str) and os.path.isfile(os.path.join(self._folder, schema)):
            return self._place(schema)
        return schema

    def _place(self, name: str) -> str:
        """Return a file's name as seen from here; a prompt file may name what lies beside and below it only."""
        if name == "-" or name.startswith(("https://", "http://")):
            return name
        place = os.path.realpath(os.path.join(self._folder, name))
        if os.path.commonpath((place, self._folder)) != self._folder:
            raise UsageError(
                f'"{self.definition.source}" may not name "{name}", which is outside of its folder',
                hint=f"attach it yourself: -a {name}",
                reason="permission",
            )
        return place


def opened(app: App, file: str | None, template: str | None, params: Sequence[str]) -> PromptFile | None:
    """Return the prompt file of ``run FILE`` or ``-t NAME``, or None where neither was given."""
    path = file if file is not None else None if template is None else _found(app, template)
    if path is None:
        if params:
            raise UsageError('"-p" needs a prompt file', hint="name one with -t, or use: llmctl run FILE")
        return None
    return PromptFile(app, path, params)


def _found(app: App, name: str) -> str:
    """Return the path of ``-t NAME``: a file of that name in the folder of prompts, or a path."""
    if os.sep in name or name.endswith(".toml"):
        return name
    config = paths.config_folder(app.env)
    folder = f"{config}/prompts" if config else ""
    path = f"{folder}/{name}.toml"
    if os.path.isfile(path):
        return path
    there = os.listdir(folder) if os.path.isdir(folder) else ()
    error = unknown("prompt file", name, (file[:-5] for file in there if file.endswith(".toml")), error=NotFoundError)
    error.hint = error.hint or f"make it: {path}"
    raise error


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise NotFoundError(f'cannot read "{path}": {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise UsageError(f'"{path}" is not UTF-8') from error


def _as_pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}:={dumps(value)}" for name, value in values.items()]


def _is_template(text: str) -> bool:
    return any(mark in text for mark in ("{{", "{%", "{#"))


def _render(text: str, values: Mapping[str, Any], source: str) -> str:
    if not _is_template(text):
        return text
    from llmctl.formats import templates

    return templates.render(text, values, source)
