"""What a turn takes of the disk, by table and index, for turns of 692 characters of text.

    python -m tests.benchmarks.bytes_per_turn [--turns 1000] [--one-shot] [--recorded FILE.sse]

Turns are made through the Python API, all in one chat, or each in a chat of its own (``--one-shot``). ``--recorded``
gives them the stream of a provider instead of that of echo, as often as there are turns. The last lines tell what the
file takes after ``db vacuum``, and what 20 turns with one system prompt of 700 kB take.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from llmctl.core.stored_values import dumps
from llmctl.store.database import Database, Insert, Update
from llmctl.store.opening import open_hub
from tests.benchmarks.text import TextGenerator
from tests.benchmarks.timing import clean_env

_TEXT = 692
_GOAL = 5_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--one-shot", action="store_true")
    parser.add_argument("--recorded", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= clean_env(Path(folder))
        path = os.environ["LLMCTL_DB"]
        before = ask(1, one_shot=False, path=path)
        after = ask(options.turns, one_shot=options.one_shot, path=path)
        if options.recorded:
            replace_streams(path, options.recorded.read_text(encoding="utf-8"))
        spent = (used_bytes(path) - before) / options.turns
        print(f"{spent:,.0f} bytes a turn for {_TEXT} of text (goal {_GOAL:,})", flush=True)
        assert after > before
        print_tables(path, options.turns)
        repeat_system_prompt(str(Path(folder) / "system.db"))
    return int(spent > _GOAL)


def ask(turns: int, *, one_shot: bool, path: str) -> int:
    """Ask so many questions; return the bytes that are used then."""
    from llmctl import Hub

    prose = TextGenerator(turns)
    with Hub() as hub:
        chat = hub.create_chat(model="echo")
        for _ in range(turns):
            chat = hub.create_chat(model="echo") if one_shot else chat
            chat.ask(prose.text(_TEXT // 2)[: _TEXT // 2])
    return used_bytes(path)


def used_bytes(path: str) -> int:
    """Return the bytes of the pages in use."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def replace_streams(path: str, text: str) -> None:
    """Give every stream the recorded text, as its end would have stored it."""
    with closing(open_hub(path, "write")) as database:
        for row in database.query("SELECT id FROM {response_streams}"):
            database.commit(Update("response_streams", row["id"], {"raw_output": text}))


def print_tables(path: str, turns: int) -> None:
    """Print the bytes a turn takes in each table and index, and after a vacuum."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            sizes = connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY 1 ORDER BY 2 DESC").fetchall()
        except sqlite3.OperationalError:
            sizes = []  # SQLite was built without dbstat
        for name, size in sizes:
            if size / turns > 20:
                print(f"  {name:44} {size / turns:8,.0f}")
        connection.execute("VACUUM")
    print(f"{used_bytes(path):,} bytes in all after db vacuum")


def repeat_system_prompt(path: str) -> None:
    """Print what 20 calls with one system prompt of 700 kB take."""
    system = TextGenerator(7).text(700_000)
    with closing(open_hub(path, "create")) as database:
        before = used_bytes(path)
        for number in range(20):
            send(database, number, {"system": system, "messages": [{"role": "user", "content": f"question {number}"}]})
        parts = database.value("SELECT sum(length(text_gz)) FROM {bodies}")
    print(f"20 calls with a system prompt of {len(system):,}: {used_bytes(path) - before:,} bytes (parts: {parts:,})")


def send(database: Database, number: int, body: dict[str, object]) -> None:
    row = {"id": f"call-{number}", "endpoint": "https://api.example.org", "method": "POST", "body": dumps(body)}
    database.commit(Insert("network_calls", row))


if __name__ == "__main__":
    sys.exit(main())
