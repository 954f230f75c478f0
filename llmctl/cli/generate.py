"""``python -m llmctl.cli.generate``: write what is derived from the commands, in a checkout. A test compares."""

from __future__ import annotations

import os

from llmctl.cli import helptext
from llmctl.cli.shells import bash, fish, zsh
from llmctl.cli.shells.spec import specs

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def generated_files() -> dict[str, str]:
    """Return every generated file: its path in the checkout, its text."""
    commands = specs()
    return {
        "llmctl/cli/static/version.txt": helptext.version(),
        "llmctl/cli/static/help.txt": helptext.root(),
        "llmctl/cli/static/help-all.txt": helptext.root(everything=True),
        "completions/llmctl.bash": bash.script(commands),
        "completions/_llmctl": zsh.script(commands),
        "completions/llmctl.fish": fish.script(commands),
    }


def main() -> None:
    """Write them all."""
    for name, text in generated_files().items():
        path = os.path.join(os.path.dirname(_PACKAGE), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
