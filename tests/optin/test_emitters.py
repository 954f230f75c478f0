"""The emitted schemas in the hands of the tools they are for: tsc, drizzle-kit, PostgreSQL behind it, TypeORM."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.store.emit import EMITTERS
from tests.fakes.npm import packages
from tests.optin.postgresql import PostgresServer
from tests.store.sample_hubs import ODD_NAMES, USER_SQL, make_hub, read_catalog

DIALECTS = ("sqlite", "postgresql", "mysql")
PACKAGES = (
    *("typescript@5.9.3", "@types/node@20", "drizzle-orm@0.45.4", "drizzle-kit@0.31.11"),
    *("typeorm@1.1.1", "sql.js@1.16.0", "reflect-metadata@0.2.2"),
)
COMPILER = {
    "strict": True,
    "target": "es2022",
    "module": "nodenext",
    "moduleResolution": "nodenext",
    "experimentalDecorators": True,
    "emitDecoratorMetadata": True,
    "noEmitOnError": True,
    "skipLibCheck": True,
    "outDir": "js",
    "types": ["node"],
}


class Project:
    """A folder with every emitted file of a hub, and the tools."""

    def __init__(self, folder: Any, hub: str) -> None:
        self.folder, self.hub = folder, hub
        self.catalogue, self.names = read_catalog(hub)
        (folder / "node_modules").symlink_to(packages(*PACKAGES) / "node_modules")
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER, "include": ["*.ts"]}))
        (folder / "records.ts").write_text(self.emit("typescript"))
        for dialect in DIALECTS:
            (folder / f"drizzle_{dialect}.ts").write_text(self.emit("drizzle", dialect=dialect))
            (folder / f"typeorm_{dialect}.ts").write_text(self.emit("typeorm", dialect=dialect))

    def emit(self, format: Any, **options: Any) -> Any:
        return EMITTERS.load(format)(self.catalogue, self.names, **options)

    def run(self, *command: Any) -> Any:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def drizzle_sql(self, dialect: Any) -> Any:
        options = (f"--dialect={dialect}", f"--schema=drizzle_{dialect}.ts")
        return self.run("node_modules/.bin/drizzle-kit", "export", *options)


@pytest.fixture(scope="module", params=["plain", "odd"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    path = str(folder / "hub.db")
    return Project(folder, make_hub(path) if request.param == "plain" else make_hub(path, ODD_NAMES, USER_SQL))


def test_tsc_takes_all_of_it(project: Any) -> None:
    project.run("node_modules/.bin/tsc", "-p", ".")


def test_drizzle_kit_makes_the_tables_of_the_hub(project: Any) -> None:
    with closing(sqlite3.connect(":memory:")) as made, closing(sqlite3.connect(project.hub)) as hub:
        made.executescript(project.drizzle_sql("sqlite"))
        assert project.catalogue.tables
        for table in project.catalogue.tables:
            assert columns(made, table.name) == columns(hub, table.name)
            assert keys(made, table.name) == keys(hub, table.name)
            assert indexes(made, table) == indexes(hub, table)


def test_postgresql_takes_what_drizzle_kit_makes(project: Any, postgresql: PostgresServer) -> None:
    name = f"drizzle_{project.folder.name.rstrip('0123456789')}"
    postgresql.psql("postgres", f'CREATE DATABASE "{name}";')
    postgresql.psql(name, project.drizzle_sql("postgresql"))
    made = postgresql.psql(name, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public';")
    assert set(made.splitlines()) == {table.name for table in project.catalogue.tables}


def test_drizzle_kit_takes_the_schema_for_mysql(project: Any) -> None:
    assert project.drizzle_sql("mysql").count("CREATE TABLE") == len(project.catalogue.tables)


def test_typeorm_opens_the_hub_and_follows_relations(project: Any) -> None:
    project.run("node_modules/.bin/tsc", "-p", ".")
    shutil.copy(Path(__file__).parent / "typeorm_session.mjs", project.folder)
    found = json.loads(project.run("node", "typeorm_session.mjs", "./js/typeorm_sqlite.js", project.hub))
    assert (found["name"], found["payload"], found["textLog"]) == ("all", {"a": 1}, None)
    assert [job["name"] for job in found["children"]] == ["one"]


def columns(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """Return (name, NOT NULL, place in the key); SQLite's drizzle has fewer types than a hub declares."""
    rows = connection.execute('SELECT name, "notnull" OR pk, pk FROM pragma_table_info(?)', (table,))
    return [(name, bool(needed), key) for name, needed, key in rows]


def keys(connection: sqlite3.Connection, table: str) -> list[Any]:
    rows = connection.execute(
        'SELECT "table", "from", "to", on_delete, on_update FROM pragma_foreign_key_list(?)', (table,)
    )
    return sorted((*row[:3], row[3].upper(), row[4].upper()) for row in rows)


def indexes(connection: sqlite3.Connection, table: Any) -> list[Any]:
    plain = {i.name for i in table.indexes if i.is_plain and not i.name.startswith("sqlite_autoindex")}
    rows = connection.execute('SELECT name, "unique" FROM pragma_index_list(?)', (table.name,)).fetchall()
    return sorted(
        (name, unique, *[row[2] for row in connection.execute(f'PRAGMA index_info("{name}")')])
        for name, unique in rows
        if name in plain
    )
