"""The emitted SQL on a real PostgreSQL: it makes every table, and the rules hold there too."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "store"))

from hubs_of_all_kinds import ODD_NAMES, OWN, look, make

from llmctl.store.emit import sql


class Server:
    """A PostgreSQL of our own, on a socket in a temporary folder. It refuses to run as root: then as its own user."""

    def __init__(self, folder):
        self.folder = folder
        self.programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.lead = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.lead:
            shutil.chown(folder, "postgres")
        self.run(f"{self.programs}/initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres")
        options = f"-k {folder} -h ''"
        self.run(f"{self.programs}/pg_ctl", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "start")

    def run(self, *command, input=""):
        done = subprocess.run([*self.lead, *command], input=input, capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def psql(self, database, script):
        """Run a script; the first error ends it."""
        flags = ("-v", "ON_ERROR_STOP=1", "-qAt", "-f", "-")
        return self.run("psql", "-h", self.folder, "-U", "postgres", "-d", database, *flags, input=script)

    def stop(self):
        self.run(f"{self.programs}/pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def server():
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        pytest.skip("NOT TESTED: PostgreSQL is not installed")
    folder = tempfile.mkdtemp(prefix="llmctl-pg-", dir="/tmp")  # a socket's path has to be short
    running = Server(folder)
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("kind", ["plain", "odd"])
def test_postgresql_takes_the_schema(server, tmp_path, kind):
    path = str(tmp_path / "hub.db")
    catalogue, names = look(make(path) if kind == "plain" else make(path, ODD_NAMES, OWN))
    server.psql("postgres", f"CREATE DATABASE {kind};")
    server.psql(kind, sql.emit(catalogue, names, dialect="postgresql"))
    made = server.psql(kind, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public';")
    assert set(made.splitlines()) == {table.name for table in catalogue.tables}


def test_rules_hold_on_postgresql(server, tmp_path):
    catalogue, names = look(make(str(tmp_path / "hub.db")))
    server.psql("postgres", "CREATE DATABASE rules;")
    server.psql("rules", sql.emit(catalogue, names, dialect="postgresql"))
    server.psql(
        "rules",
        "INSERT INTO chats (id) VALUES ('c'); INSERT INTO requests (id, chat_id, provider, model)"
        " VALUES ('r', 'c', 'openai', 'm'); DELETE FROM chats;",
    )
    assert server.psql("rules", "SELECT id, chat_id IS NULL, refs, status FROM requests;") == "r|t|{}|completed\n"
    with pytest.raises(AssertionError, match="requests_status_check"):
        server.psql("rules", "UPDATE requests SET status = 'lost';")
