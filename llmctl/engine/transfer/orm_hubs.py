"""A database of ``@node-llm/orm``, of any version and under any names: adopted as a copy, and read like a hub."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing

from llmctl.core.bundle import Header, Record
from llmctl.engine.transfer import histories
from llmctl.store import adoption
from llmctl.store.foreign import adopted
from llmctl.store.opening import open_hub
from llmctl.store.transfer.choosing import conversations
from llmctl.store.transfer.reading import Reader


def records(path: str) -> Iterator[Record | Header]:
    """Yield the rows of every conversation; the database itself is not touched."""
    with tempfile.TemporaryDirectory(prefix="llmctl-import-") as folder:
        copy = os.path.join(folder, "copy.db")
        for ending in ("", "-wal"):
            if os.path.exists(path + ending):
                shutil.copyfile(path + ending, copy + ending)
        adoption.adopt(copy, {})
        with closing(open_hub(copy, "write")) as database:
            adopted.make_stable(database, histories.derived)
            reader = Reader(database, conversations(None, None))
            with reader.snapshot():
                yield reader.header()
                for layout, values in reader.rows():
                    yield Record(layout.table, dict(zip(layout.columns, values, strict=True)))
