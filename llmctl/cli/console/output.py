"""Results on stdout: a table for people, plain lines for pipes, JSON, CSV and TSV for programs.

A listing command is ``@listing`` and ends in :func:`emit_list`; one that shows one thing is ``@record`` and ends
in :func:`emit_record`; one that makes something ends in :func:`emit_made`. The decorators add the flags
``--json --jsonl --csv --tsv --columns`` (a record: without the tables); what was chosen stands in ``app.format``.

Columns are chosen like this: ``--columns`` if given; else terminal and pipe show those that are ``shown``, CSV and
TSV all that are declared, JSON everything the row has. A pipe gets no header, ``--tsv`` has one; both escape
tab, newline, return and backslash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from llmctl.core import stored_json
from llmctl.core.errors import UsageError

if TYPE_CHECKING:
    from llmctl.cli.app import App

Row = Mapping[str, Any]
Kind = Literal["text", "id", "time", "number", "cost", "duration", "bool", "json", "status"]
Command = TypeVar("Command", bound=Callable[..., Any])

#: Attribute of a command's function that says which output flags it takes.
FLAGS = "__output__"

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
#: JSON may hold these as they are, but a terminal obeys them.
_TERMINAL_JSON = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


class Column(NamedTuple):
    """A column of a listing: the key in the row, what kind of value it holds, whether it is shown unasked."""

    name: str
    kind: Kind = "text"
    shown: bool = True
    header: str | None = None

    @property
    def title(self) -> str:
        return self.header or self.name.replace("_", " ")


class OutputFormat:
    """What the flags ask for; ``auto`` is a table on a terminal and plain lines elsewhere."""

    def __init__(self, kind: str = "auto", columns: tuple[str, ...] | None = None) -> None:
        self.kind = kind
        self.columns = columns

    @property
    def is_json(self) -> bool:
        return self.kind in ("json", "jsonl")


def listing(command: Command) -> Command:
    """Give a command the flags of a listing."""
    command.__dict__[FLAGS] = "listing"
    return command


def record(command: Command) -> Command:
    """Give a command the flags of one record: ``--json --jsonl --columns``."""
    command.__dict__[FLAGS] = "record"
    return command


def answer(command: Command) -> Command:
    """Give a command the flags of an answer: ``--json --jsonl``."""
    command.__dict__[FLAGS] = "answer"
    return command


def emit_list(app: App, rows: Iterable[Row], columns: Sequence[Column], fmt: OutputFormat | None = None) -> None:
    """Write a listing. Rows are taken one by one and written at once, except for a terminal's table."""
    fmt = fmt or app.format
    chosen = _chosen(columns, fmt)
    match fmt.kind:
        case "json":
            _write_array(app, (_object(row, columns, fmt) for row in rows))
        case "jsonl":
            for row in rows:
                app.io.write(_terminal_json(app, _object(row, columns, fmt)) + "\n")
        case "csv":
            _write_lines(app, rows, chosen, _csv_line, header=True)
        case "tsv":
            _write_lines(app, rows, chosen, _tab_line, header=True)
        case _ if app.io.stdout_tty:
            from llmctl.cli.console import table

            app.io.write(table.table(app, rows, chosen, whole=fmt.columns is not None))
        case _:
            _write_lines(app, rows, chosen, _tab_line, header=False)


def emit_record(app: App, row: Row, columns: Sequence[Column] | None = None, fmt: OutputFormat | None = None) -> None:
    """Write one thing: a name and a value on each line, or an object. Without ``columns`` all that the row has."""
    fmt = fmt or app.format
    declared = columns or [Column(name) for name in row]
    chosen = _chosen(declared, fmt)
    if fmt.is_json:
        emit_json(app, _object(row, declared, fmt), fmt)
    elif app.io.stdout_tty:
        from llmctl.cli.console import table

        app.io.write(table.card(app, row, chosen))
    else:
        for column in chosen:
            app.io.write(_tab_line([column.name, plain(row.get(column.name), column.kind)]))


def emit_made(app: App, row: Row, text: str) -> None:
    """Report what a command made or changed: the record with ``--json``, else its id to a pipe or with ``--quiet``.

    ``text`` (``made chat "fix-42"``) is told on stderr.
    """
    if app.format.is_json:
        emit_record(app, row)
        return
    if app.quiet or not app.io.stdout_tty:
        app.io.write(f"{row['id']}\n")
    app.note(text)


def emit_json(app: App, document: Any, fmt: OutputFormat | None = None) -> None:
    """Write one JSON document: on one line, or indented where a person reads it (``--json`` on a terminal)."""
    indented = app.io.stdout_tty and (fmt or app.format).kind != "jsonl"
    app.io.write(_terminal_json(app, document, indented) + "\n")


def plain(value: Any, kind: Kind = "text") -> str:
    """Return a value as pipes and CSV have it: full, as stored, nothing for NULL."""
    if value is None:
        return ""
    if isinstance(value, bool) or kind == "bool":
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return stored_json.dumps(value)
    return str(value)


def _chosen(columns: Sequence[Column], fmt: OutputFormat) -> list[Column]:
    if fmt.columns is None:
        return [column for column in columns if column.shown or fmt.kind in ("csv", "tsv")]
    named = {column.name: column for column in columns}
    for name in fmt.columns:
        if name not in named:
            raise UsageError(f'no column "{name}"', hint=f"there are {', '.join(named)}")
    return [named[name] for name in fmt.columns]


def _object(row: Row, columns: Sequence[Column], fmt: OutputFormat) -> dict[str, Any]:
    """Return the JSON object of a row: ``references`` never null, booleans and JSON as such."""
    kinds = {column.name: column.kind for column in columns}
    names = row.keys() if fmt.columns is None else fmt.columns
    found = {name: _json_value(row.get(name), kinds.get(name, "text")) for name in names}
    if "refs" in found:
        found["references"] = found.pop("refs")
    if "references" in found:
        found["references"] = _json_value(found["references"], "json") or {}
    return found


def _json_value(value: Any, kind: Kind) -> Any:
    if kind == "bool" and value is not None:
        return bool(value)
    if kind == "json" and isinstance(value, str):
        try:
            return stored_json.loads(value)
        except ValueError:
            return value
    return value


def _write_array(app: App, objects: Iterator[Any]) -> None:
    lead = "["
    for item in objects:
        app.io.write(lead + _terminal_json(app, item, app.io.stdout_tty))
        lead = ",\n"
    app.io.write("[]\n" if lead == "[" else "]\n")


def _terminal_json(app: App, document: Any, indented: bool = False) -> str:
    if indented:
        import json

        return json.dumps(document, ensure_ascii=False, indent=2).translate(_TERMINAL_JSON)
    text = stored_json.dumps(document)
    return text.translate(_TERMINAL_JSON) if app.io.stdout_tty else text


def _write_lines(
    app: App,
    rows: Iterable[Row],
    columns: Sequence[Column],
    line: Callable[[Sequence[str]], str],
    *,
    header: bool,
) -> None:
    if header:
        app.io.write(line([column.name for column in columns]))
    for row in rows:
        app.io.write(line([plain(row.get(column.name), column.kind) for column in columns]))


def _tab_line(cells: Sequence[str]) -> str:
    return "\t".join(cell.translate(_ESCAPES) for cell in cells) + "\n"


def _csv_line(cells: Sequence[str]) -> str:
    """Return a line of RFC 4180."""
    quoted = ('"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\r\n') else cell for cell in cells)
    return ",".join(quoted) + "\r\n"
