"""Every statement of the program compiles on the SQLite that runs it: builds differ in what they accept."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import llmctl.store
from llmctl.store.database import Database
from llmctl.store.opening import open_hub

_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
#: A slot that is filled when a statement runs, or a subquery of another one.
_INCOMPLETE = re.compile(r"%[(s]|\bwhere\b|\bCOLUMNS\b|= c\.source_id$|json_each\(c\.|\{")
#: Tables that exist while something runs.
_TEMPORARY = re.compile(r"temp\.low_hours|\bllmctl_deltas\b")
#: Reads the databases of other programs.
_FOREIGN = "llmctl.store.foreign_databases"


def list_statements() -> list[tuple[str, str]]:
    """Return place and text of the statements in the store: literals, and those that a module builds of them."""
    found: dict[str, str] = {}
    for module in pkgutil.walk_packages(llmctl.store.__path__, "llmctl.store."):
        loaded = importlib.import_module(module.name)
        texts = [*_texts(list(vars(loaded).values())), *_literals(Path(str(loaded.__file__)))]
        found |= {text: module.name for text in texts if _STATEMENT.match(text)}
    return [(place, text) for text, place in found.items()]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _literals(path: Path) -> Iterator[str]:
    """Yield the literals that are whole: not the pieces of an f-string or of a sum."""
    tree = ast.parse(path.read_text())
    pieces = {
        id(child) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.BinOp) for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
            yield node.value


class AnyParameters(dict[str, Any]):
    """A value for every parameter."""

    def __missing__(self, name: str) -> None:
        return None


def explain(database: Database, sql: str) -> None:
    for count in range(40):
        try:
            database.connection.execute(f"EXPLAIN {sql}", [None] * count if "?" in sql else AnyParameters())
            return
        except sqlite3.ProgrammingError:  # another number of parameters
            if "?" not in sql:
                raise
    raise AssertionError(sql)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path = str(tmp_path_factory.mktemp("statements") / "hub.db")
    with closing(open_hub(path, "create")) as database:
        database.connection.execute("CREATE TEMP TABLE doomed (kind TEXT, id TEXT)")
        yield database


def test_every_statement_compiles(hub: Database) -> None:
    compiled, wrong = 0, []
    for place, text in list_statements():
        sql = hub.sql(text)
        if place == _FOREIGN or _INCOMPLETE.search(re.sub(r"'[^']*'", "", sql)) or _TEMPORARY.search(sql):
            continue
        try:
            explain(hub, sql)
            compiled += 1
        except sqlite3.Error as error:
            if "incomplete input" not in str(error):  # the beginning of a statement
                wrong.append((place, str(error), sql))
    assert wrong == []
    assert compiled > 150, compiled


def test_every_view_and_trigger_of_the_schema_compiles(hub: Database) -> None:
    """SQLite reads the bodies of views and triggers when they are used."""
    views = [row["name"] for row in hub.rows("SELECT name FROM sqlite_master WHERE type = 'view'")]
    of_triggers = "SELECT DISTINCT tbl_name AS name FROM sqlite_master WHERE type = 'trigger'"
    tables = {row["name"] for row in hub.rows(of_triggers)} - set(views)
    assert len(views) > 5
    assert len(tables) > 3
    for name in views:
        hub.query(f'SELECT * FROM "{name}" LIMIT 1')
    for name in tables:
        columns = [row["name"] for row in hub.rows(f'PRAGMA table_info("{name}")')]
        explain(hub, f'INSERT INTO "{name}" DEFAULT VALUES')
        explain(hub, f'DELETE FROM "{name}"')
        explain(hub, f'UPDATE "{name}" SET ' + ", ".join(f'"{column}" = "{column}"' for column in columns))
