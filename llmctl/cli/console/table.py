"""Format tables and cards for a terminal. The only file that imports tabulate, which costs half as much as typer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import tabulate

from llmctl.cli.console import terminal
from llmctl.cli.console.columns import ColumnKind, OutputColumn, Row, format_plain
from llmctl.core.humanize import format_age, format_dollars, format_duration

if TYPE_CHECKING:
    from llmctl.cli.console.console import Console

_GAP = 2
_MIN_COLUMN_WIDTH = 8
_MIN_COLUMNS = 2
_RIGHT_ALIGNED = ("number", "cost", "duration")
_STATUS_COLORS = {
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
    # Makes tabulate pad wide characters correctly without the wcwidth package.
    tabulate.wcwidth = SimpleNamespace(wcswidth=terminal.display_width)  # type: ignore[attr-defined]
    tabulate.WIDE_CHARS_MODE = True
tabulate.MIN_PADDING = 0  # the default widens a column by the padding of its header


def format_table(
    console: Console, rows: Iterable[Row], columns: Sequence[OutputColumn], *, keep_columns: bool = False
) -> str:
    """Format a padded table no wider than the terminal; empty without rows.

    Unless ``keep_columns``, trailing columns are dropped before the names in the first column are truncated.
    """
    lines = [[format_cell(row.get(column.name), column.kind) for column in columns] for row in rows]
    if not lines:
        return ""
    terminal_width = terminal.terminal_width(console.env, console.io.stdout)
    titles = [column.title.upper() for column in columns]
    widths = _fit_widths(titles, lines, columns, terminal_width)
    while not keep_columns and len(columns) > _MIN_COLUMNS and _is_too_narrow(widths, lines, terminal_width):
        columns, titles, lines = columns[:-1], titles[:-1], [line[:-1] for line in lines]
        widths = _fit_widths(titles, lines, columns, terminal_width)
    lines = [[terminal.truncate(cell, cells) for cell, cells in zip(line, widths, strict=True)] for line in lines]
    if terminal.supports_color(console.env, console.io.stdout_tty):
        lines = [[_colorize_cell(c, column.kind) for c, column in zip(line, columns, strict=True)] for line in lines]
        titles = [terminal.colorize(title, "dim") for title in titles]
    text = tabulate.tabulate(
        lines,
        headers=titles,
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if column.kind in _RIGHT_ALIGNED else "left" for column in columns],
    )
    return "".join(f"{line.rstrip()}\n" for line in text.split("\n"))


def format_card(console: Console, row: Mapping[str, Any], columns: Sequence[OutputColumn]) -> str:
    """Format one record as lines of name and value; multi-line values start on the next line."""
    use_color = terminal.supports_color(console.env, console.io.stdout_tty)
    margin = max((len(column.title) for column in columns), default=0) + _GAP
    lines = []
    for column in columns:
        text = _format_card_value(row.get(column.name), column.kind)
        title = column.title.ljust(margin)
        if "\n" in text:
            text = "\n" + "\n".join(f"  {line}" for line in text.split("\n"))
        lines.append((terminal.colorize(title, "dim") if use_color else title) + text)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def format_cell(value: Any, kind: ColumnKind) -> str:
    """Format a value for a table: relative times, 8 characters of ids, one line without terminal escapes."""
    if value is None:
        return ""
    formatter = _FORMATTERS.get(kind)
    return formatter(value) if formatter else terminal.safe_line(format_plain(value, kind))


def _format_card_value(value: Any, kind: ColumnKind) -> str:
    if kind == "time" and value:
        return f"{value} ({format_age(value)})"
    if kind in ("text", "id", "json", "status"):
        return terminal.safe_text(format_plain(value, kind))
    return format_cell(value, kind)


_FORMATTERS: Mapping[ColumnKind, Callable[[Any], str]] = {
    "id": lambda value: str(value)[:8],
    "time": format_age,
    "number": lambda value: f"{value:,}" if isinstance(value, int) else str(value),
    "cost": format_dollars,
    "duration": format_duration,
    "bool": lambda value: "yes" if value else "no",
}


def _fit_widths(
    titles: Sequence[str], lines: Sequence[Sequence[str]], columns: Sequence[OutputColumn], terminal_width: int
) -> list[int]:
    """Return the column widths; in a table that is too wide, the widest texts shrink first, the first column last."""
    widths = [max(map(terminal.display_width, cells)) for cells in zip(titles, *lines, strict=True)]
    while sum(widths) + _GAP * (len(widths) - 1) > terminal_width:
        texts = [
            i for i, column in enumerate(columns) if column.kind in ("text", "json") and widths[i] > _MIN_COLUMN_WIDTH
        ]
        if not texts:
            break
        widths[max(texts[texts[0] == 0 :] or texts, key=widths.__getitem__)] -= 1
    return widths


def _is_too_narrow(widths: Sequence[int], lines: Sequence[Sequence[str]], terminal_width: int) -> bool:
    """Return whether the columns do not fit, or the names in the first one would be cut below half the width."""
    names = min(max(terminal.display_width(line[0]) for line in lines), terminal_width // 2)
    return sum(widths) + _GAP * (len(widths) - 1) > terminal_width or widths[0] < names


def _colorize_cell(cell: str, kind: ColumnKind) -> str:
    if kind == "id":
        return terminal.colorize(cell, "yellow")
    if kind == "status" and cell in _STATUS_COLORS:
        return terminal.colorize(cell, _STATUS_COLORS[cell])
    return cell
