# ruff: noqa: E402
"""Sample commands for tests of the command line itself: ``python sample_commands.py COMMAND`` is llmctl with them."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
import types
from typing import Annotated

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
os.environ.pop("PYTHONUNBUFFERED", None)  # would flush for us

import typer

from llmctl.cli import catalog
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import Streams, list_output, read_prompt, record_output
from llmctl.cli.console.output import emit_change, emit_list, emit_record
from llmctl.cli.console.prompts import ask_secret, confirm
from llmctl.core.errors import NotFoundError, UnavailableError

PYTHON = sys.executable
SAMPLE_CLI = [PYTHON, os.path.abspath(__file__)]
LLMCTL = [PYTHON, "-c", f"import sys; sys.path.insert(0, {ROOT!r}); from llmctl._fastpath import main; main()"]

COLUMNS = [
    OutputColumn("id", "id"),
    OutputColumn("name"),
    OutputColumn("created_at", "time"),
    OutputColumn("input_tokens", "number"),
    OutputColumn("is_default", "bool"),
    OutputColumn("status", "status", is_default=False),
    OutputColumn("metadata", "json", is_default=False),
]
ROW = {
    "id": "3f2a9c1e-0000-4000-8000-000000000001",
    "name": "tab\there, back\\slash,\nline \x1b[31mred",
    "created_at": "2026-01-02T03:04:05.678+00:00",
    "input_tokens": 1234,
    "is_default": 1,
    "status": "failed",
    "metadata": '{"k":[1,null]}',
    "refs": None,
    "unlisted": "x",
}


@list_output
def rows(ctx: typer.Context, count: Annotated[int, typer.Option(help="How many.")] = 1) -> None:
    """List rows."""
    if count < 0:
        wide = [{"id": "1", "name": name, "input_tokens": 5} for name in ("日本語", "abc")]
        emit_list(ctx.obj.console, wide, COLUMNS)
        return
    emit_list(ctx.obj.console, (ROW | {"id": f"{n:08d}-0000"} for n in range(count)), COLUMNS)


@list_output
def named(ctx: typer.Context) -> None:
    """List rows that begin with a long name."""
    columns = [COLUMNS[1], *COLUMNS[2:5], COLUMNS[-1]]
    emit_list(ctx.obj.console, [ROW | {"name": "a-name-of-thirty-characters-" + end} for end in ("01", "02")], columns)


@record_output
def row(ctx: typer.Context) -> None:
    """Show a row."""
    emit_record(ctx.obj.console, ROW, COLUMNS)


@record_output
def make(ctx: typer.Context) -> None:
    """Make a row."""
    emit_change(ctx.obj.console, ROW, 'made row "x"')


def fail(ctx: typer.Context, kind: str) -> None:
    """Fail."""
    if kind == "known":
        error = UnavailableError("no answer", hint="try again\nor do not", reason="timeout")
        error.chat_id = "c1"
        raise error
    if kind == "bug":
        raise ZeroDivisionError("oh\nno")
    if kind == "name":
        raise NotFoundError('no chat "\udcff"')
    if kind == "after-output":
        ctx.obj.console.io.write("half\n")
        raise UnavailableError("gone")
    sqlite3.connect(kind).execute("CREATE TABLE t (x)")


def ask(
    ctx: typer.Context,
    words: Annotated[list[str] | None, typer.Argument()] = None,
    stdin: Annotated[bool | None, typer.Option("--stdin/--no-stdin")] = None,
) -> None:
    """Print the prompt as Python's own text."""
    app = ctx.obj
    app.console.io.write(
        ascii(read_prompt(words or (), io=app.console.io, env=app.env, note=app.console.note, stdin=stdin)) + "\n"
    )


def state(
    ctx: typer.Context,
    word: Annotated[str, typer.Argument()] = "",
    text: Annotated[str, typer.Option("--text", "-t")] = "",
) -> None:
    """Print the global flags and what came to the command."""
    app = ctx.obj
    app.console.io.write(f"db={app.db} quiet={app.console.quiet} debug={app.debug} text={text}\n")


def wait(ctx: typer.Context) -> None:
    """Print a word and wait to be ended."""
    try:
        ctx.obj.console.io.write("begun\n")
        ctx.obj.console.io.flush()
        time.sleep(30)
    finally:
        ctx.obj.console.io.write_stderr("unwound\n")


def linger(ctx: typer.Context) -> None:
    """Print a word, wait to be ended, and take long to unwind."""
    io = ctx.obj.console.io
    try:
        wait(ctx)
    finally:
        io.write("unwinding\n")
        io.flush()
        time.sleep(30)


class _Slow:
    def __init__(self, io: Streams) -> None:
        self.io = io

    def __del__(self) -> None:
        self.io.write("begun\n")
        self.io.flush()
        time.sleep(30)


def destroy(ctx: typer.Context) -> None:
    """Drop an object that takes long to go."""
    try:
        slow = _Slow(ctx.obj.console.io)
        del slow
        time.sleep(30)
    finally:
        ctx.obj.console.io.write_stderr("unwound\n")


def ponder(ctx: typer.Context, yes: bool = False) -> None:
    """Ask the person."""
    confirm(ctx.obj.console, 'delete chat "x"', yes=yes)
    ctx.obj.console.io.write(f"secret {ask_secret(ctx.obj.console, 'Key: ')}\n")


def flood(ctx: typer.Context) -> None:
    """Write without an end."""
    try:
        while True:
            ctx.obj.console.io.write("x" * 1000 + "\n")
    finally:
        ctx.obj.console.io.write_stderr("unwound\n")


def add_sample_commands() -> None:
    """Add the commands above to the catalog."""
    for function in (rows, named, row, make, fail, ask, state, wait, linger, destroy, ponder, flood):
        name = function.__name__
        module = types.ModuleType(f"llmctl.cli.commands.{name}")
        module.__dict__[name] = function
        sys.modules[module.__name__] = module
        catalog.CATALOG[name] = catalog.CatalogEntry(catalog.PLUMBING, (function.__doc__ or "").rstrip("."))


if __name__ == "__main__":
    from llmctl.cli.main import main

    add_sample_commands()
    main()
