"""``python -m scripts.generate``: write the files generated from the commands. A test checks that they are current.

Generated: the static help texts, the completion scripts, the keywords of the Python API, and the tables of commands
and exit codes in README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmctl.cli.catalog import CATALOG, PLUMBING, subcommands
from llmctl.cli.completions import bash, fish, zsh
from llmctl.cli.completions.spec import command_specs
from llmctl.cli.help import text as help_text
from llmctl.cli.help.topics import EXIT_CODE_HELP
from llmctl.core.errors import EXIT_CODES
from llmctl.core.options import Option, options_for

_ROOT = Path(__file__).resolve().parent.parent
_KEYWORD_TYPES = {
    "text": "str | None",
    "integer": "int | None",
    "number": "float | None",
    "switch": "bool",
    "list": "Sequence[str]",
    "pairs": "Mapping[str, Any]",
    "effort": "str | int | Mapping[str, int] | None",
    "expiry": "str | float | bool | None",
    "schema": "Any",
}
_KEYWORDS_HEADER = '''\
"""Keywords of the Python API for the options of a turn: of ``ask`` and ``stream``, and attributes of agents.

Generated from llmctl/core/options.py by: python -m scripts.generate
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict
'''


def generated_files() -> dict[str, str]:
    """Return the path in the checkout and the text of every generated file."""
    specs = command_specs()
    return {
        "llmctl/cli/static/version.txt": help_text.version_text(),
        "llmctl/cli/static/help.txt": help_text.root_help(),
        "llmctl/cli/static/help-all.txt": help_text.root_help(everything=True),
        "llmctl/api/keywords.py": _python_keywords(),
        "README.md": _readme(),
        "completions/llmctl.bash": bash.build_script(specs),
        "completions/_llmctl": zsh.build_script(specs),
        "completions/llmctl.fish": fish.build_script(specs),
    }


def _python_keywords() -> str:
    keywords = "".join(
        f"    #: {entry.help}\n    {entry.keyword or entry.name}: {_keyword_type(entry)}\n"
        for entry in options_for("python")
    )
    attributes = "".join(
        f"    {entry.name}: ClassVar[{_keyword_type(entry)}] = {_empty_value(entry)}\n"
        for entry in options_for("file")
        if "python" in entry.doors and not entry.keyword and entry.name != "metadata"
    )
    return (
        f"{_KEYWORDS_HEADER}\n\n"
        f'class TurnKeywords(TypedDict, total=False):\n    """Options of a turn, by keyword."""\n\n{keywords}\n\n'
        f'class AgentAttributes:\n    """Options of an agent, by attribute of its class."""\n\n{attributes}'
    )


def _keyword_type(entry: Option) -> str:
    has_objects = entry.name in ("attach", "tools")  # bytes and functions
    return "Sequence[Any]" if has_objects else _KEYWORD_TYPES[entry.kind]


def _empty_value(entry: Option) -> str:
    return {"list": "()", "pairs": "{}"}.get(entry.kind, "None")


def _readme() -> str:
    """Return the README with its generated tables updated."""
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    text = _replace_section(text, "commands", "\n".join(_command_rows()))
    return _replace_section(text, "exit-codes", "\n".join(_exit_code_rows()))


def _replace_section(text: str, name: str, body: str) -> str:
    before, _, rest = text.partition(f"<!-- {name} -->\n")
    _, _, after = rest.partition(f"<!-- /{name} -->\n")
    return f"{before}<!-- {name} -->\n{body}\n<!-- /{name} -->\n{after}"


def _command_rows() -> Iterator[str]:
    yield "| command | does |"
    yield "|---|---|"
    for name, entry in CATALOG.items():
        if entry.panel != PLUMBING:
            verbs = f" `{' '.join(subcommands((name,)))}`" if entry.subcommands else ""
            yield f"| `{name}`{verbs} | {entry.help} |"


def _exit_code_rows() -> Iterator[str]:
    yield "| code | name | when |"
    yield "|--:|---|---|"
    for code, when in EXIT_CODE_HELP.items():
        yield f"| {code} | {EXIT_CODES[code]} | {when} |"


def main() -> None:
    """Write every generated file."""
    for name, text in generated_files().items():
        path = _ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
