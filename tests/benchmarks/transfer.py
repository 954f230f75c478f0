"""How quickly a hub goes out and comes in again, in how much memory.

    python -m tests.benchmarks.hub /tmp/large.db
    python -m tests.benchmarks.transfer /tmp/large.db [--folder /tmp]

Each run is a process of its own, over the command line. The last one checks that the round trip
is byte-for-byte identical.
On a machine that does other things too, messages a second of CPU are what it would do alone.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from tests.benchmarks.timing import load, used

PYTHON = sys.executable

#: Messages a second, at least; megabytes, at most.
EXPORT, IMPORT, MEMORY_MB = 30_000, 8_000, 150


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
    print(f"{messages:,} messages; {load()}")
    print(f"{'':14} {'messages/s':>12} {'of CPU':>12} {'goal':>8} {'us of CPU':>10} {'MB':>9} {'goal':>6}")
    for format in formats:
        goal = EXPORT if format == "jsonl" else None
        into = str(folder / format)
        run(f"export {format}", messages, hub, "export", "--all", "--format", format, "--output", into, goal=goal)
    if "jsonl" not in formats:
        return 0
    first, other = folder / "jsonl", str(folder / "other.db")
    run("import", messages, other, "import", str(first), goal=IMPORT)
    run("import again", messages, other, "import", str(first))
    run("export again", messages, other, "export", "--all", "--output", str(folder / "again"))
    same = digest(first) == digest(folder / "again")
    print("byte-for-byte identical" if same else "DIFFERENT", digest(first)[:16])
    return 0 if same else 1


def run(what: str, messages: int, hub: str, *arguments: str, goal: int | None = None) -> None:
    """Run llmctl on a hub, and print what it took."""
    spent = used([PYTHON, "-m", "llmctl", "--quiet", *arguments], {**os.environ, "LLMCTL_DB": hub})
    wanted = f"{goal:,}" if goal else ""
    print(
        f"{what:14} {messages / spent.seconds:12,.0f} {messages / spent.cpu_seconds:12,.0f} {wanted:>8}"
        f" {spent.cpu_seconds / messages * 1e6:10.1f} {spent.megabytes:9.0f} {MEMORY_MB:6}",
        flush=True,
    )


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
