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
_SHRINKING = ("text", "json", "snippet")
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
) -> tuple[str, Sequence[OutputColumn]]:
    """Return a padded table no wider than the terminal, empty without rows, and the columns it has no room for.

    Unless ``keep_columns``, trailing columns are left out before the names in the first column are truncated.
    """
    lines = [[format_cell(row.get(column.name), column.kind) for column in columns] for row in rows]
    if not lines:
        return "", ()
    declared = columns
    terminal_width = terminal.terminal_width(console.env, console.io.stdout)
    titles = [column.title.upper() for column in columns]
    widths = _fit_widths(titles, lines, columns, terminal_width)
    while not keep_columns and len(columns) > _MIN_COLUMNS and _is_too_narrow(widths, lines, columns, terminal_width):
        columns, titles, lines = columns[:-1], titles[:-1], [line[:-1] for line in lines]
        widths = _fit_widths(titles, lines, columns, terminal_width)
    kinds = [column.kind for column in columns]
    lines = [[_fit_cell(*cell) for cell in zip(line, kinds, widths, strict=True)] for line in lines]
    use_color = terminal.supports_color(console.env, console.io.stdout_tty)
    lines = [[_colorize_cell(*cell, use_color) for cell in zip(line, kinds, strict=True)] for line in lines]
    if use_color:
        titles = [terminal.colorize(title, "dim") for title in titles]
    text = tabulate.tabulate(
        lines,
        headers=titles,
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if column.kind in _RIGHT_ALIGNED else "left" for column in columns],
    )
    return "".join(f"{line.rstrip()}\n" for line in text.split("\n")), declared[len(columns) :]


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
    "snippet": terminal.safe_snippet,
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
        texts = [i for i, column in enumerate(columns) if column.kind in _SHRINKING and widths[i] > _MIN_COLUMN_WIDTH]
        if not texts:
            break
        widths[max(texts[texts[0] == 0 :] or texts, key=widths.__getitem__)] -= 1
    return widths


def _is_too_narrow(
    widths: Sequence[int], lines: Sequence[Sequence[str]], columns: Sequence[OutputColumn], terminal_width: int
) -> bool:
    """Return whether the columns do not fit, or cut the names: below half the width, or a quarter behind an id."""
    at = 1 if columns[0].kind == "id" and columns[1].kind == "text" else 0
    names = min(max(terminal.display_width(line[at]) for line in lines), terminal_width // (4 if at else 2))
    return sum(widths) + _GAP * (len(widths) - 1) > terminal_width or widths[at] < names


def _fit_cell(cell: str, kind: ColumnKind, cells: int) -> str:
    return terminal.show_match(cell, cells) if kind == "snippet" else terminal.truncate(cell, cells)


def _colorize_cell(cell: str, kind: ColumnKind, use_color: bool) -> str:
    if kind == "snippet":
        return terminal.highlight(cell, "bold" if use_color else None)
    if not use_color:
        return cell
    if kind == "id":
        return terminal.colorize(cell, "yellow")
    if kind == "status" and cell in _STATUS_COLORS:
        return terminal.colorize(cell, _STATUS_COLORS[cell])
    return cell
