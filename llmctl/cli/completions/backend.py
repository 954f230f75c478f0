"""``llmctl --complete KIND PREFIX``: candidates for the completion scripts. Never fails."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from llmctl.core.environment import hub_path


def main(arguments: tuple[str, ...]) -> None:
    """Print one candidate per line, with a tab and a description, for ``KIND PREFIX [DB]``."""
    kind, prefix, db = (*arguments, "", "", "")[:3]
    path = hub_path(os.path.expanduser(db), os.environ)
    if not path or sys.stdout is None:
        return
    from llmctl.store.completion_candidates import find_candidates

    lines = [
        f"{value}\t{' '.join(description.split())}\n"
        for value, description in find_candidates(path, kind, prefix)
        if _is_printable(value)
    ]
    with suppress(OSError):  # the shell closed the pipe
        os.write(1, "".join(lines).encode("utf-8", "replace"))


def _is_printable(value: str) -> bool:
    """Return whether a name can be one line of the output."""
    return value.isprintable()
