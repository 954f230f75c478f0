"""A turn takes a few kilobytes of the disk, whatever its stream takes on the way."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing

import pytest

from llmctl import Hub
from tests.harness import gunzip

_TURNS = 12
_PROMPT = "the quick brown fox jumps over the lazy dog and runs " * 6


def used_bytes(path: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def test_a_turn_takes_a_few_kilobytes(env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    path = env["LLMCTL_DB"]
    with Hub() as hub:
        chat = hub.create_chat(model="echo")
        chat.ask(_PROMPT)
        before = used_bytes(path)
        for _ in range(_TURNS):
            chat.ask(_PROMPT)
    # 18 kB before streams were compressed; pages that are half full make 12 turns dearer than 1,000.
    assert (used_bytes(path) - before) / _TURNS < 10_000
    with closing(sqlite3.connect(path)) as connection:
        streams = connection.execute("SELECT raw_output_gz FROM response_streams").fetchall()
    assert len(streams) == _TURNS + 1
    assert all(len(data) < len(gunzip(data) or "") / 8 for (data,) in streams)
