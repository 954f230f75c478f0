"""``python -m llmctl.cli.generate``: write what is derived from the commands, in a checkout. A test compares."""

from __future__ import annotations

import os
from collections.abc import Iterator

from llmctl.cli.catalog import CATALOG, PLUMBING, below
from llmctl.cli.completions import bash, fish, zsh
from llmctl.cli.completions.spec import specs
from llmctl.cli.help import text as help_text
from llmctl.cli.help.topics import EXIT_CODE_HELP
from llmctl.core.errors import EXIT_CODES

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def generated_files() -> dict[str, str]:
    """Return every generated file: its path in the checkout, its text."""
    commands = specs()
    return {
        "llmctl/cli/static/version.txt": help_text.version(),
        "llmctl/cli/static/help.txt": help_text.root(),
        "llmctl/cli/static/help-all.txt": help_text.root(everything=True),
        "README.md": _readme(),
        "completions/llmctl.bash": bash.script(commands),
        "completions/_llmctl": zsh.script(commands),
        "completions/llmctl.fish": fish.script(commands),
    }


def _readme() -> str:
    """Return the README with its two generated tables renewed."""
    with open(os.path.join(os.path.dirname(_PACKAGE), "README.md"), encoding="utf-8") as file:
        text = file.read()
    text = _between(text, "commands", "\n".join(_command_rows()))
    return _between(text, "exit-codes", "\n".join(_exit_code_rows()))


def _between(text: str, name: str, body: str) -> str:
    before, _, rest = text.partition(f"<!-- {name} -->\n")
    _, _, after = rest.partition(f"<!-- /{name} -->\n")
    return f"{before}<!-- {name} -->\n{body}\n<!-- /{name} -->\n{after}"


def _command_rows() -> Iterator[str]:
    yield "| command | does |"
    yield "|---|---|"
    for name, entry in CATALOG.items():
        if entry.panel != PLUMBING:
            subcommands = f" `{' '.join(below((name,)))}`" if entry.subcommands else ""
            yield f"| `{name}`{subcommands} | {entry.help} |"


def _exit_code_rows() -> Iterator[str]:
    yield "| code | name | when |"
    yield "|--:|---|---|"
    for code, when in EXIT_CODE_HELP.items():
        yield f"| {code} | {EXIT_CODES[code]} | {when} |"


def main() -> None:
    """Write them all."""
    for name, text in generated_files().items():
        path = os.path.join(os.path.dirname(_PACKAGE), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
