"""A database of ``@node-llm/orm``, of any version and under any names: adopted as a copy, and read like a hub."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing

from llmctl.core.transfer_records import Header, Record
from llmctl.engine.transfer import conversations as transfer_conversations
from llmctl.store.adopt import run
from llmctl.store.importers import stable_ids
from llmctl.store.opening import open_hub
from llmctl.store.transfer.read import Reader
from llmctl.store.transfer.select import conversations


def records(path: str) -> Iterator[Record | Header]:
    """Yield the rows of every conversation; the database itself is not touched."""
    with tempfile.TemporaryDirectory(prefix="llmctl-import-") as folder:
        copy = os.path.join(folder, "copy.db")
        for ending in ("", "-wal"):
            if os.path.exists(path + ending):
                shutil.copyfile(path + ending, copy + ending)
        run.adopt(copy, {})
        with closing(open_hub(copy, "write")) as database:
            stable_ids.make_stable(database, transfer_conversations.derived)
            reader = Reader(database, conversations(None, None))
            with reader.snapshot():
                yield reader.header()
                for layout, values in reader.rows():
                    yield Record(layout.table, dict(zip(layout.columns, values, strict=True)))
