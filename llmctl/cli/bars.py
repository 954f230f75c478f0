"""Bars of text, one for each group of ``stats``."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.cli.app import App
from llmctl.cli.console import terminal
from llmctl.core.humanize import dollars
from llmctl.store.database import Row

_EIGHTHS = " ▏▎▍▌▋▊▉"


def drawn(app: App, rows: Sequence[Row], keys: Sequence[str]) -> str:
    """Return a line for each row: its keys, a bar of its tokens, their number, and the cost where it is known."""
    labels = [" ".join(str(row[key]) if row[key] is not None else "-" for key in keys) for row in rows]
    values = [_words(row) for row in rows]
    margin = max(map(terminal.width, labels), default=0)
    room = terminal.columns(app.env, app.io.stdout) - margin - max(map(len, values), default=0) - 4
    most = max((row["total_tokens"] for row in rows), default=0) or 1
    lines = []
    for label, value, row in zip(labels, values, rows, strict=True):
        bar = _bar(row["total_tokens"] / most, max(8, room))
        lines.append(f"{label}{' ' * (margin - terminal.width(label))}  {bar}{value}\n")
    return "".join(lines)


def _words(row: Row) -> str:
    cost = f", {dollars(row['cost'])}" if row["cost"] is not None else ""
    return f"{row['total_tokens']:,} tokens{cost}"


def _bar(share: float, room: int) -> str:
    eighths = round(share * room * 8)
    whole, rest = divmod(eighths, 8)
    bar = "█" * whole + (_EIGHTHS[rest] if rest else "")
    return f"{bar} " if bar else ""
