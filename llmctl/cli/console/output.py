"""Print results on stdout: a table for people, plain lines for pipes, JSON, CSV and TSV for programs.

A command that lists records is ``@list_output`` and ends in :func:`emit_list`; one that shows a record is
``@record_output`` and ends in :func:`emit_record`; one that creates or changes a record ends in :func:`emit_change`.
The decorators add ``--json --jsonl --csv --tsv --columns`` (records: no CSV or TSV); ``console.format`` has the values.

Columns: ``--columns`` if given; else the default ones for terminals and pipes, all declared ones for CSV and TSV,
the whole row for JSON. Pipes get no header, ``--tsv`` has one; both escape tab, newline, return and backslash.

Whoever watches a terminal is told on stderr what a list left out: rows beyond ``--limit``, columns that do not fit,
and that nothing was found. Nobody else is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmctl.cli.console.columns import ColumnKind, OutputColumn, Row, format_plain
from llmctl.cli.console.console import Console, OutputFormat
from llmctl.core import stored_values
from llmctl.core.errors import UsageError
from llmctl.core.humanize import pluralize
from llmctl.core.values import Value

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
#: Valid in JSON unescaped, but terminals interpret them.
_TERMINAL_JSON = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


class Extent(Value):
    """What a list is of, for the notes on what it left out.

    ``limit`` is the number of rows it shows at most, None for all; ``count`` says how many there are, and is called
    only where that can be more. ``empty`` is the note for no rows.
    """

    empty: str
    limit: int | None = None
    count: Callable[[], int] | None = None
    is_default_limit: bool = True


def describe_empty(noun: str, *filters: object) -> str:
    """Return the note for a list without rows: whether there are none at all, or none that the filters let through."""
    is_filtered = any(value not in (None, False, (), []) for value in filters)
    return f"no {noun} match" if is_filtered else f"no {noun} yet"


def emit_list(
    console: Console, rows: Iterable[Row], columns: Sequence[OutputColumn], extent: Extent | None = None
) -> None:
    """Write a list. Rows are written one by one as they arrive, except in a terminal table."""
    shown = _RowCounter(rows)
    _write_list(console, shown, columns, console.format)
    if extent is not None:
        _note_omissions(console, extent, shown.number)


class _RowCounter:
    """Passes rows on, and counts them."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.number = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.number += 1
            yield row


def _note_omissions(console: Console, extent: Extent, shown: int) -> None:
    """Tell people at a terminal that there are no rows, or more rows; whoever asked for a number knows it in a pipe."""
    io = console.io
    if not (io.stdout_tty or io.stderr_tty):
        return
    if shown == 0:
        console.note(extent.empty)
    elif shown == extent.limit and extent.count and (io.stdout_tty or extent.is_default_limit):
        total = extent.count()
        if total > shown:
            console.note(f"{shown:,} of {total:,}; --limit 0 shows all")


def _write_list(console: Console, rows: Iterable[Row], columns: Sequence[OutputColumn], fmt: OutputFormat) -> None:
    selected = _select_columns(columns, fmt)
    match fmt.kind:
        case "json":
            _write_array(console, (_json_object(row, columns, fmt) for row in rows))
        case "jsonl":
            for row in rows:
                console.io.write(_format_json(console, _json_object(row, columns, fmt)) + "\n")
        case "csv":
            _write_lines(console, rows, selected, _format_csv_line, header=True)
        case "tsv":
            _write_lines(console, rows, selected, _format_tsv_line, header=True)
        case _ if console.io.stdout_tty:
            from llmctl.cli.console import table

            text, hidden = table.format_table(console, rows, selected, keep_columns=fmt.columns is not None)
            console.io.write(text)
            if hidden:
                names = ",".join(column.name for column in hidden)
                console.note(f"not wide enough for {pluralize(len(hidden), 'column')}; to see: --columns {names}")
        case _:
            _write_lines(console, rows, selected, _format_tsv_line, header=False)


def emit_record(
    console: Console,
    row: Mapping[str, Any],
    columns: Sequence[OutputColumn] | None = None,
    fmt: OutputFormat | None = None,
) -> None:
    """Write one record: a name and value per line, or a JSON object. Without ``columns``, every key of the row."""
    fmt = fmt or console.format
    declared = columns or [OutputColumn(name) for name in row]
    selected = _select_columns(declared, fmt)
    if fmt.is_json:
        emit_json(console, _json_object(row, declared, fmt), fmt)
    elif console.io.stdout_tty:
        from llmctl.cli.console import table

        console.io.write(table.format_card(console, row, selected))
    else:
        for column in selected:
            console.io.write(_format_tsv_line([column.name, format_plain(row.get(column.name), column.kind)]))


def emit_change(console: Console, row: Mapping[str, Any], text: str) -> None:
    """Report a created or changed record: as JSON with ``--json``; else its id, in a pipe or with ``--quiet``.

    ``text`` (``created chat "fix-42"``) is printed to stderr.
    """
    if console.format.is_json:
        emit_record(console, row)
        return
    if console.quiet or not console.io.stdout_tty:
        console.io.write(f"{row['id']}\n")
    console.note(text)


def emit_json(console: Console, document: Any, fmt: OutputFormat | None = None) -> None:
    """Write one JSON document: indented for ``--json`` on a terminal, else on one line."""
    indented = console.io.stdout_tty and (fmt or console.format).kind != "jsonl"
    console.io.write(_format_json(console, document, indented) + "\n")


def _select_columns(columns: Sequence[OutputColumn], fmt: OutputFormat) -> list[OutputColumn]:
    if fmt.columns is None:
        is_complete = fmt.kind in ("csv", "tsv")
        return [column for column in columns if (not column.is_optional if is_complete else column.is_default)]
    by_name = {column.name: column for column in columns}
    for name in fmt.columns:
        if name not in by_name:
            raise UsageError(f'no column "{name}"', hint=f"available: {', '.join(by_name)}")
    return [by_name[name] for name in fmt.columns]


def _json_object(row: Mapping[str, Any], columns: Sequence[OutputColumn], fmt: OutputFormat) -> dict[str, Any]:
    """Return the JSON object of a row: ``references`` is never null, booleans and JSON are decoded."""
    kinds = {column.name: column.kind for column in columns}
    names = row.keys() if fmt.columns is None else fmt.columns
    values = {name: _json_value(row.get(name), kinds.get(name, "text")) for name in names}
    if "refs" in values:
        values["references"] = values.pop("refs")
    if "references" in values:
        values["references"] = _json_value(values["references"], "json") or {}
    return values


def _json_value(value: Any, kind: ColumnKind) -> Any:
    if kind == "bool" and value is not None:
        return bool(value)
    if kind == "json" and isinstance(value, str):
        try:
            return stored_values.loads(value)
        except ValueError:
            return value
    return value


def _write_array(console: Console, objects: Iterator[Any]) -> None:
    separator = "["
    for item in objects:
        console.io.write(separator + _format_json(console, item, console.io.stdout_tty))
        separator = ",\n"
    console.io.write("[]\n" if separator == "[" else "]\n")


def _format_json(console: Console, document: Any, indented: bool = False) -> str:
    if indented:
        import json

        return json.dumps(document, ensure_ascii=False, indent=2).translate(_TERMINAL_JSON)
    text = stored_values.dumps(document)
    return text.translate(_TERMINAL_JSON) if console.io.stdout_tty else text


def _write_lines(
    console: Console,
    rows: Iterable[Row],
    columns: Sequence[OutputColumn],
    format_line: Callable[[Sequence[str]], str],
    *,
    header: bool,
) -> None:
    if header:
        console.io.write(format_line([column.name for column in columns]))
    for row in rows:
        console.io.write(format_line([format_plain(row.get(column.name), column.kind) for column in columns]))


def _format_tsv_line(cells: Sequence[str]) -> str:
    return "\t".join(cell.translate(_ESCAPES) for cell in cells) + "\n"


def _format_csv_line(cells: Sequence[str]) -> str:
    """Format a CSV line (RFC 4180)."""
    quoted = ('"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\r\n') else cell for cell in cells)
    return ",".join(quoted) + "\r\n"
