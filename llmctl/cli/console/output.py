"""Print results on stdout: a table for people, plain lines for pipes, JSON, CSV and TSV for programs.

A command that lists records is ``@list_output`` and ends in :func:`emit_list`; one that shows a record is
``@record_output`` and ends in :func:`emit_record`; one that creates or changes a record ends in :func:`emit_change`.
The decorators add ``--json --jsonl --csv --tsv --columns`` (records: no CSV or TSV); ``app.format`` has the values.

Columns: ``--columns`` if given; else the default ones for terminals and pipes, all declared ones for CSV and TSV,
the whole row for JSON. Pipes get no header, ``--tsv`` has one; both escape tab, newline, return and backslash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from llmctl.core import stored_json
from llmctl.core.errors import UsageError

if TYPE_CHECKING:
    from llmctl.cli.app import App

Row = Mapping[str, Any]
ColumnKind = Literal["text", "id", "time", "number", "cost", "duration", "bool", "json", "status"]
CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])

#: Attribute of a command function: the kind of output flags it takes.
OUTPUT_FLAGS_ATTRIBUTE = "__output__"

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
#: Valid in JSON unescaped, but terminals interpret them.
_TERMINAL_JSON = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


class OutputColumn(NamedTuple):
    """A column of a list: its key in the row, the kind of value, and whether it is shown without ``--columns``."""

    name: str
    kind: ColumnKind = "text"
    is_default: bool = True
    header: str | None = None

    @property
    def title(self) -> str:
        return self.header or self.name.replace("_", " ")


class OutputFormat:
    """The output format; ``auto`` is a table on a terminal and plain lines elsewhere."""

    def __init__(self, kind: str = "auto", columns: tuple[str, ...] | None = None) -> None:
        self.kind = kind
        self.columns = columns

    @property
    def is_json(self) -> bool:
        return self.kind in ("json", "jsonl")


def list_output(command: CommandFunction) -> CommandFunction:
    """Add the flags of a list: ``--json --jsonl --csv --tsv --columns``."""
    command.__dict__[OUTPUT_FLAGS_ATTRIBUTE] = "listing"
    return command


def record_output(command: CommandFunction) -> CommandFunction:
    """Add the flags of a record: ``--json --jsonl --columns``."""
    command.__dict__[OUTPUT_FLAGS_ATTRIBUTE] = "record"
    return command


def answer_output(command: CommandFunction) -> CommandFunction:
    """Add the flags of an answer: ``--json --jsonl``."""
    command.__dict__[OUTPUT_FLAGS_ATTRIBUTE] = "answer"
    return command


def emit_list(app: App, rows: Iterable[Row], columns: Sequence[OutputColumn], fmt: OutputFormat | None = None) -> None:
    """Write a list. Rows are written one by one as they arrive, except in a terminal table."""
    fmt = fmt or app.format
    selected = _select_columns(columns, fmt)
    match fmt.kind:
        case "json":
            _write_array(app, (_json_object(row, columns, fmt) for row in rows))
        case "jsonl":
            for row in rows:
                app.io.write(_format_json(app, _json_object(row, columns, fmt)) + "\n")
        case "csv":
            _write_lines(app, rows, selected, _format_csv_line, header=True)
        case "tsv":
            _write_lines(app, rows, selected, _format_tsv_line, header=True)
        case _ if app.io.stdout_tty:
            from llmctl.cli.console import table

            app.io.write(table.format_table(app, rows, selected, keep_columns=fmt.columns is not None))
        case _:
            _write_lines(app, rows, selected, _format_tsv_line, header=False)


def emit_record(
    app: App, row: Mapping[str, Any], columns: Sequence[OutputColumn] | None = None, fmt: OutputFormat | None = None
) -> None:
    """Write one record: a name and value per line, or a JSON object. Without ``columns``, every key of the row."""
    fmt = fmt or app.format
    declared = columns or [OutputColumn(name) for name in row]
    selected = _select_columns(declared, fmt)
    if fmt.is_json:
        emit_json(app, _json_object(row, declared, fmt), fmt)
    elif app.io.stdout_tty:
        from llmctl.cli.console import table

        app.io.write(table.format_card(app, row, selected))
    else:
        for column in selected:
            app.io.write(_format_tsv_line([column.name, format_plain(row.get(column.name), column.kind)]))


def emit_change(app: App, row: Mapping[str, Any], text: str) -> None:
    """Report a created or changed record: as JSON with ``--json``; else its id, in a pipe or with ``--quiet``.

    ``text`` (``created chat "fix-42"``) is printed to stderr.
    """
    if app.format.is_json:
        emit_record(app, row)
        return
    if app.quiet or not app.io.stdout_tty:
        app.io.write(f"{row['id']}\n")
    app.note(text)


def emit_json(app: App, document: Any, fmt: OutputFormat | None = None) -> None:
    """Write one JSON document: indented for ``--json`` on a terminal, else on one line."""
    indented = app.io.stdout_tty and (fmt or app.format).kind != "jsonl"
    app.io.write(_format_json(app, document, indented) + "\n")


def format_plain(value: Any, kind: ColumnKind = "text") -> str:
    """Format a value for pipes and CSV: complete, as stored, empty for NULL."""
    if value is None:
        return ""
    if isinstance(value, bool) or kind == "bool":
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return stored_json.dumps(value)
    return str(value)


def _select_columns(columns: Sequence[OutputColumn], fmt: OutputFormat) -> list[OutputColumn]:
    if fmt.columns is None:
        return [column for column in columns if column.is_default or fmt.kind in ("csv", "tsv")]
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
            return stored_json.loads(value)
        except ValueError:
            return value
    return value


def _write_array(app: App, objects: Iterator[Any]) -> None:
    separator = "["
    for item in objects:
        app.io.write(separator + _format_json(app, item, app.io.stdout_tty))
        separator = ",\n"
    app.io.write("[]\n" if separator == "[" else "]\n")


def _format_json(app: App, document: Any, indented: bool = False) -> str:
    if indented:
        import json

        return json.dumps(document, ensure_ascii=False, indent=2).translate(_TERMINAL_JSON)
    text = stored_json.dumps(document)
    return text.translate(_TERMINAL_JSON) if app.io.stdout_tty else text


def _write_lines(
    app: App,
    rows: Iterable[Row],
    columns: Sequence[OutputColumn],
    format_line: Callable[[Sequence[str]], str],
    *,
    header: bool,
) -> None:
    if header:
        app.io.write(format_line([column.name for column in columns]))
    for row in rows:
        app.io.write(format_line([format_plain(row.get(column.name), column.kind) for column in columns]))


def _format_tsv_line(cells: Sequence[str]) -> str:
    return "\t".join(cell.translate(_ESCAPES) for cell in cells) + "\n"


def _format_csv_line(cells: Sequence[str]) -> str:
    """Format a CSV line (RFC 4180)."""
    quoted = ('"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\r\n') else cell for cell in cells)
    return ",".join(quoted) + "\r\n"
