"""``llmctl --complete KIND PREFIX``: what the completion scripts ask while someone types. Never an error."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from llmctl.core.paths import hub_path


def main(arguments: tuple[str, ...]) -> None:
    """Print a candidate a line, a tab and a few words behind it, for ``KIND PREFIX [DB]``."""
    kind, prefix, db = (*arguments, "", "", "")[:3]
    path = hub_path(os.path.expanduser(db), os.environ)
    if not path or sys.stdout is None:
        return
    from llmctl.store.completion_candidates import candidates

    lines = [
        f"{value}\t{' '.join(beside.split())}\n" for value, beside in candidates(path, kind, prefix) if _plain(value)
    ]
    with suppress(OSError):  # the shell thought better of it
        os.write(1, "".join(lines).encode("utf-8", "replace"))


def _plain(value: str) -> bool:
    """Tell whether a name can stand on a command line as one word of a list of lines."""
    return value.isprintable()
