"""Looking back on a large hub: what each command takes longer than on an empty one, and what that is made of.

    python -m tests.benchmarks.reading HUB [--rounds 7]

HUB is made by ``python -m tests.benchmarks.hub HUB``. Times are those of the processor: what other programs do at the
same time counts less. The last lines tell what cannot be had for less on this machine (the floors), and what a turn
takes of the disk: turns of 693 characters of text, made by the program itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from llmctl.store.opening import create, open_hub
from llmctl.store.stats import group_by, query
from llmctl.store.stats.group_by import Scope
from tests.benchmarks.text import KNOWN, TextGenerator
from tests.benchmarks.timing import clean_env, load, script, used

#: What a search may take, in milliseconds.
_SEARCH = 100
#: Bytes that ``llm`` 0.36 takes for a turn of so much text.
_PEER = 3_156

#: Name, command, how many milliseconds more than on an empty hub are allowed (None: only reported).
Case = tuple[str, Sequence[str], float | None]
_TURNS = 200
_TEXT = 693


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hub")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        env = clean_env(Path(folder))
        create(env["LLMCTL_DB"])
        print(load())
        good = compare(cases(options.hub), options.hub, env, options.rounds)
        searches(options.hub, env, options.rounds)
        floors(options.hub)
        sizes(options.hub, Path(folder))
    return 0 if good else 1


def cases(hub: str) -> list[Case]:
    """Return the measurements on an empty hub for comparison."""
    with sqlite3.connect(hub) as connection:
        (chat,) = connection.execute("SELECT id FROM chats ORDER BY rowid LIMIT 1 OFFSET 999").fetchone()
    year = ("stats", "--json", "--since", "365d", "--group-by")
    return [
        ("stats --json", ("stats", "--json"), 30),
        ("stats --json, of 100 days", ("stats", "--json", "--since", "100d"), 30),
        ("stats --chat", ("stats", "--json", "--chat", chat), 30),
        ("stats, a year by model and day", (*year, "model,day"), 30),
        ("stats, a year by day", (*year, "day"), 30),
        ("stats, a year by model", (*year, "model"), 30),
        ("stats, a year by agent", (*year, "agent"), None),
        ("stats, a year by agent and day", (*year, "agent,day"), None),
        ("stats, a year by tool", (*year, "tool"), 30),
        ("stats, a year by script", (*year, "script"), 30),
        ("stats, a year by folder", (*year, "folder"), 30),
        ("chats list", ("chats", "list"), 20),
        ("chats list --json", ("chats", "list", "--json"), 20),
        ("metric export", ("metric", "export"), None),
    ]


def compare(cases: Sequence[Case], hub: str, env: dict[str, str], rounds: int) -> bool:
    """Print each case on the large hub and on the empty one, in turns; return whether every limit holds."""
    good = True
    print(f"{'':44} {'large':>9} {'empty':>9} {'more':>9} {'goal':>6}")
    for name, command, limit in cases:
        pairs = [(_spent(command, env | {"LLMCTL_DB": hub}), _spent(_of_all(command), env)) for _ in range(rounds + 1)]
        large, empty = (statistics.median(side) for side in zip(*pairs[1:], strict=True))
        over = limit is not None and large - empty > limit
        good = good and not over
        told = f"{limit:6g}{'  over' if over else ''}" if limit is not None else ""
        print(f"{name:44} {large:6.1f} ms {empty:6.1f} ms {large - empty:6.1f} ms {told}")
    return good


def _of_all(command: Sequence[str]) -> Sequence[str]:
    """Return a command without ``--chat REF``, which stands last: an empty hub has no chats."""
    return command[: command.index("--chat")] if "--chat" in command else command


def searches(hub: str, env: dict[str, str], rounds: int) -> None:
    """Print what searches take, the whole process and the search within it."""
    print(f"\n{'chats search':44} {'process':>9} {'search':>9} {'goal':>9} {'hits':>9}")
    texts = [*KNOWN, "kubernetes python", "nosuchword", "the", "c++", "->"]
    with closing(open_hub(hub).connection) as connection:
        for text in texts:
            spent = [_spent(("chats", "search", "--", text), env | {"LLMCTL_DB": hub}) for _ in range(rounds)]
            within = statistics.median(_timed(partial(_search, hub, text)) for _ in range(rounds))
            match = " ".join(word for word in text.split() if word.isalpha())
            counted = "SELECT count(*) FROM message_search WHERE message_search MATCH ?"
            hits = connection.execute(counted, (match,)).fetchone()[0] if match else 0
            print(f"{text:44} {statistics.median(spent):6.1f} ms {within:6.1f} ms {_SEARCH:6} ms {hits:9,}")


def _search(hub: str, text: str) -> None:
    from llmctl.store import search

    database = open_hub(hub)
    search.search(database, text, search.SearchFilter(), 50)
    database.close()


def floors(hub: str) -> None:
    """Print what a year by model and day is made of."""
    database = open_hub(hub)
    grouping = group_by.build_grouping(database, ["model", "day"])
    (source,) = query._sum_queries(Scope(), grouping)
    keys = ", ".join(f"{text} AS k{index}" for index, text in enumerate(source.keys))
    sums = ", ".join(f"{text} AS {name}" for name, text in source.sums.items())
    sql = database.sql(f"SELECT {keys}, {sums} FROM {source.table} GROUP BY k0, k1")
    rows, total = query.group_totals(database, Scope(), grouping)
    texts = [row[name] for row in database.query(sql) for name in ("durations", "first_tokens") if row[name]]
    print(f"\na year by model and day: {len(rows):,} groups, {len(texts):,} histograms")
    for name, act in (
        ("SQLite reads and sums the rows", lambda: database.connection.execute(sql).fetchall()),
        ("json.loads of the histograms", lambda: [json.loads(text) for text in texts]),
        ("all of it, within the process", lambda: query.group_totals(database, Scope(), grouping)),
        ("json.dumps of the result", lambda: json.dumps({"groups": rows, "total": total})),
    ):
        print(f"  {name:42} {min(_timed(act) for _ in range(5)):6.1f} ms")
    database.close()


def sizes(hub: str, folder: Path) -> None:
    """Print the bytes of a turn: of the large hub, and of turns that the program recorded itself."""
    with sqlite3.connect(hub) as connection:
        turns = connection.execute("SELECT count(*) FROM messages WHERE role = 'user'").fetchone()[0]
        text = connection.execute("SELECT sum(length(CAST(content AS BLOB))) FROM messages").fetchone()[0]
    size = os.path.getsize(hub)
    print(f"\n{hub}: {size / 1e6:,.0f} MB; {size / turns:,.0f} bytes a turn (2 requests), {text / turns:,.0f} of text")
    env = clean_env(folder) | {"LLMCTL_DB": str(folder / "turns.db")}
    prose = TextGenerator()
    _spent(("chat", "-m", "echo", "--name", "size", "hi"), env)
    before = _pages(env["LLMCTL_DB"])
    prompts = [prose.text(_TEXT // 2)[: _TEXT // 2] for _ in range(_TURNS)]
    for prompt in prompts:
        _spent(("chat", "-m", "echo", "--chat", "size", "--no-stdin", prompt), env)
    grown = _pages(env["LLMCTL_DB"]) - before
    with sqlite3.connect(env["LLMCTL_DB"]) as connection:
        output = "coalesce(length(raw_output_gz), length(raw_output), 0)"
        kept = f"sum({output} + length(timeline) + length(result_messages))"
        streams = connection.execute(f"SELECT {kept} FROM response_streams").fetchone()[0]
    print(f"{_TURNS} turns through `chat -m echo`: {grown / _TURNS:,.0f} bytes a turn for {2 * (_TEXT // 2)} of text")
    print(f"(llm 0.36, which keeps neither stream nor attempts: {_PEER:,} for {_TEXT}),")
    print(f"of which {streams / (_TURNS + 1):,.0f} are the stream as it came (llmctl db prune --kind streams)")


def _pages(hub: str) -> int:
    with sqlite3.connect(hub) as connection:
        connection.execute("VACUUM")
        count, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(count * size)


def _spent(command: Sequence[str], env: dict[str, str]) -> float:
    """Return the CPU time of a command, in milliseconds."""
    return used([script("llmctl"), *command], env).cpu_seconds * 1000


def _timed(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return (time.process_time() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())
