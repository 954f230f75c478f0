"""Tables and cards for a terminal. The only file that opens tabulate: its import costs as much as half of typer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import tabulate

from llmctl.cli.console import terminal
from llmctl.cli.console.output import Column, Kind, Row, plain
from llmctl.core.humanize import dollars

if TYPE_CHECKING:
    from llmctl.cli.app import App

_GAP = 2
_NARROWEST = 8
_FEWEST = 2
_RIGHT = ("number", "cost", "duration")
_STATUS_COLOURS = {
    "completed": "green",
    "success": "green",
    "pending": "yellow",
    "running": "yellow",
    "incomplete": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "error": "red",
    "cancelled": "dim",
}

if tabulate.wcwidth is None:  # type: ignore[attr-defined]
    # Lets tabulate pad wide characters right without another package.
    tabulate.wcwidth = SimpleNamespace(wcswidth=terminal.width)  # type: ignore[attr-defined]
    tabulate.WIDE_CHARS_MODE = True
tabulate.MIN_PADDING = 0  # it would widen a column by its header's padding


def table(app: App, rows: Iterable[Row], columns: Sequence[Column], *, whole: bool = False) -> str:
    """Return a padded table no wider than the terminal; nothing where there are no rows.

    Unless it shall be ``whole``, columns at the end go before the names at the beginning are cut.
    """
    lines = [[human(row.get(column.name), column.kind) for column in columns] for row in rows]
    if not lines:
        return ""
    total = terminal.columns(app.env, app.io.stdout)
    titles = [column.title.upper() for column in columns]
    room = _widths(titles, lines, columns, total)
    while not whole and len(columns) > _FEWEST and _is_tight(room, lines, total):
        columns, titles, lines = columns[:-1], titles[:-1], [line[:-1] for line in lines]
        room = _widths(titles, lines, columns, total)
    lines = [[terminal.cut(cell, cells) for cell, cells in zip(line, room, strict=True)] for line in lines]
    if terminal.has_colour(app.env, app.io.stdout_tty):
        lines = [[_painted(c, column.kind) for c, column in zip(line, columns, strict=True)] for line in lines]
        titles = [terminal.coloured(title, "dim") for title in titles]
    text = tabulate.tabulate(
        lines,
        headers=titles,
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if column.kind in _RIGHT else "left" for column in columns],
    )
    return "".join(f"{line.rstrip()}\n" for line in text.split("\n"))


def card(app: App, row: Row, columns: Sequence[Column]) -> str:
    """Return one thing as lines of name and value; values of several lines stand below their name."""
    colour = terminal.has_colour(app.env, app.io.stdout_tty)
    margin = max((len(column.title) for column in columns), default=0) + _GAP
    lines = []
    for column in columns:
        text = _card_value(row.get(column.name), column.kind)
        title = column.title.ljust(margin)
        if "\n" in text:
            text = "\n" + "\n".join(f"  {line}" for line in text.split("\n"))
        lines.append((terminal.coloured(title, "dim") if colour else title) + text)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def human(value: Any, kind: Kind) -> str:
    """Return a value as a table has it: relative times, ids of 8 characters, one harmless line."""
    if value is None:
        return ""
    form = _FORMS.get(kind)
    return form(value) if form else terminal.safe_line(plain(value, kind))


def _card_value(value: Any, kind: Kind) -> str:
    if kind == "time" and value:
        return f"{value} ({terminal.ago(value)})"
    if kind in ("text", "id", "json", "status"):
        return terminal.safe_text(plain(value, kind))
    return human(value, kind)


def _duration(value: Any) -> str:
    return f"{value} ms" if value < 1000 else f"{value / 1000:.1f} s"


_FORMS: Mapping[Kind, Callable[[Any], str]] = {
    "id": lambda value: str(value)[:8],
    "time": terminal.ago,
    "number": lambda value: f"{value:,}" if isinstance(value, int) else str(value),
    "cost": dollars,
    "duration": _duration,
    "bool": lambda value: "yes" if value else "no",
}


def _widths(titles: Sequence[str], lines: Sequence[Sequence[str]], columns: Sequence[Column], total: int) -> list[int]:
    """Return the width of each column; where all is too wide, the widest texts give way first, the first one last."""
    widths = [max(map(terminal.width, cells)) for cells in zip(titles, *lines, strict=True)]
    while sum(widths) + _GAP * (len(widths) - 1) > total:
        texts = [i for i, column in enumerate(columns) if column.kind in ("text", "json") and widths[i] > _NARROWEST]
        if not texts:
            break
        widths[max(texts[texts[0] == 0 :] or texts, key=widths.__getitem__)] -= 1
    return widths


def _is_tight(room: Sequence[int], lines: Sequence[Sequence[str]], total: int) -> bool:
    """Say whether there is no room for all columns, or for the names at the beginning, up to half of it."""
    names = min(max(terminal.width(line[0]) for line in lines), total // 2)
    return sum(room) + _GAP * (len(room) - 1) > total or room[0] < names


def _painted(cell: str, kind: Kind) -> str:
    if kind == "id":
        return terminal.coloured(cell, "yellow")
    if kind == "status" and cell in _STATUS_COLOURS:
        return terminal.coloured(cell, _STATUS_COLOURS[cell])
    return cell
