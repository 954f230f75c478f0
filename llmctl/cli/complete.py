"""``llmctl --complete KIND PREFIX``: what the completion scripts ask while someone types. Never an error."""

from __future__ import annotations

import os
import sys

from llmctl.cli.places import hub_path


def main(arguments: tuple[str, ...]) -> int:
    """Print a candidate a line, a tab and a few words behind it, for ``KIND PREFIX [DB]``."""
    kind, prefix, db = (*arguments, "", "", "")[:3]
    path = hub_path(os.path.expanduser(db), os.environ)
    if path:
        _print(path, kind, prefix)
    return 0


def _print(path: str, kind: str, prefix: str) -> None:
    from llmctl.store.candidates import candidates

    lines = [
        f"{value}\t{' '.join(beside.split())}\n" for value, beside in candidates(path, kind, prefix) if _plain(value)
    ]
    try:
        sys.stdout.buffer.write("".join(lines).encode("utf-8", "replace"))
        sys.stdout.flush()
    except OSError:
        os._exit(0)


def _plain(value: str) -> bool:
    """Tell whether a name can stand on a command line as one word of a list of lines."""
    return value.isprintable()
