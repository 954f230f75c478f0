"""How quickly a hub goes out and comes in again, in how much memory.

    python -m tests.benchmarks.hub /tmp/large.db
    python -m tests.benchmarks.transfer /tmp/large.db [--folder /tmp]

Each run is a process of its own, over the command line. The last one shows that the round trip is the same to the byte.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path

PYTHON = sys.executable


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hub")
    parser.add_argument("--folder", help="where the files go (some gigabytes for a large hub)")
    parser.add_argument("--formats", default="jsonl", help="formats to export, with commas")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        return measure(options.hub, Path(folder), options.formats.split(","))


def measure(hub: str, folder: Path, formats: list[str]) -> int:
    messages = count(hub)
    for format in formats:
        run(f"export {format}", messages, hub, "export", "--all", "--format", format, "--output", str(folder / format))
    if "jsonl" not in formats:
        return 0
    first, other = folder / "jsonl", str(folder / "other.db")
    run("import", messages, other, "import", str(first))
    run("import again", messages, other, "import", str(first))
    run("export again", messages, other, "export", "--all", "--output", str(folder / "again"))
    same = digest(first) == digest(folder / "again")
    print("the same to the byte" if same else "DIFFERENT", digest(first)[:16])
    return 0 if same else 1


def run(what: str, messages: int, hub: str, *arguments: str) -> None:
    """Run llmctl on a hub, and print how long it took."""
    environment = {**os.environ, "LLMCTL_DB": hub}
    began = time.perf_counter()
    memory, cpu = used(environment, "-m", "llmctl", "--quiet", *arguments)
    seconds = time.perf_counter() - began
    print(
        f"{what:14} {messages / seconds:9,.0f} messages/s  {seconds:7.1f} s  {cpu:7.1f} s of CPU  {memory:5.0f} MB",
        flush=True,
    )


def used(environment: Mapping[str, str], *arguments: str) -> tuple[float, float]:
    """Run Python, and return the most memory it had, in MB, and its CPU time in seconds."""
    process = subprocess.Popen([PYTHON, *arguments], env=dict(environment))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit code {process.returncode}")
    megabytes = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
    return megabytes, usage.ru_utime + usage.ru_stime


def count(hub: str) -> int:
    with closing(sqlite3.connect(hub)) as connection:
        return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])


def digest(path: Path) -> str:
    found = sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
