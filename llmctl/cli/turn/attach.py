"""What ``--attach`` names: files, URLs and standard input."""

from __future__ import annotations

from llmctl.cli.app import App


def files(app: App) -> tuple[tuple[str, ...], bool]:
    """Return the attachments that are named, without ``-``, and whether ``-`` is among them."""
    named = tuple(app.asking["attach"])
    return tuple(name for name in named if name != "-"), "-" in named
