"""A PostgreSQL server for tests."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from typing import Any


class PostgresServer:
    """A PostgreSQL of our own, on a socket in a temporary folder. It refuses to run as root: then as its own user."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder
        self.programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.lead = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.lead:
            shutil.chown(folder, "postgres")
        self.run(f"{self.programs}/initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres")
        options = f"-k {folder} -h ''"
        self.run(f"{self.programs}/pg_ctl", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "start")

    def run(self, *command: Any, input: str = "") -> Any:
        done = subprocess.run([*self.lead, *command], input=input, capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def psql(self, database: str, script: str) -> Any:
        """Run a script; the first error ends it."""
        flags = ("-v", "ON_ERROR_STOP=1", "-qAt", "-f", "-")
        return self.run("psql", "-h", self.folder, "-U", "postgres", "-d", database, *flags, input=script)

    def stop(self) -> None:
        self.run(f"{self.programs}/pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "stop")
