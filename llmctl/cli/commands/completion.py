"""``llmctl completion``: print a generated script of ``completions/``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from llmctl._fastpath import STATIC_ANSWERS, read_static
from llmctl.cli.app import App
from llmctl.core.errors import NotFoundError


def completion(
    ctx: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Shell.")],
) -> None:
    """Print the completion script of a shell.

    Commands and flags are part of the script; names and ids in the hub are looked up as you type.

    Examples:
      llmctl completion bash > ~/.local/share/bash-completion/completions/llmctl
      llmctl completion zsh > "${fpath[1]}/_llmctl"
      llmctl completion fish > ~/.config/fish/completions/llmctl.fish
    """
    app: App = ctx.obj
    script = read_static(STATIC_ANSWERS["completion", shell])
    if script is None:
        raise NotFoundError(f'no completion script for "{shell}"', hint="reinstall llmctl: the file is missing")
    app.console.io.write_bytes(script)
