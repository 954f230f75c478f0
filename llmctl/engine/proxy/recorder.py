"""Record the exchanges of a proxy in the hub: a process of its own, so that the proxy's answers never wait for it.

It reads the ids of finished exchanges from stdin. When that ends, the proxy is over: what is left is recorded, too.
Either process may be killed at any time: what is in the folder is recorded by the next proxy.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from llmctl.core.errors import LlmctlError
from llmctl.core.stored_values import new_id
from llmctl.engine.proxy.exchange_rows import ExchangeReader
from llmctl.engine.runtime import RuntimeEnv
from llmctl.engine.turn.group_recorder import GroupRecorder, join_writes
from llmctl.store.database import Database, Insert, Update, Write
from llmctl.store.exchange_spool import ExchangeFolder, list_folders, read_exchange
from llmctl.store.opening import open_hub
from llmctl.store.records import proxied

#: Seconds after which the folder is looked through, for exchanges whose id did not come.
_RESCAN_S = 2.0
#: Seconds to wait where the hub takes no rows, and how often that is tried when the proxy is over.
_RETRY_S = 1.0
_LAST_TRIES = 30
#: Exchanges whose rows wait in memory.
_MAX_WAITING = 500


class FolderRecorder:
    """Records the exchanges in one folder."""

    def __init__(self, database: Database, folder: ExchangeFolder, runtime: RuntimeEnv) -> None:
        self._database = database
        self._folder = folder
        self._runtime = runtime
        self._failed = False
        self._queued: set[str] = set()
        self._open()

    def _open(self) -> None:
        self._recorder = GroupRecorder(self._database, self._runtime)
        self._reader = ExchangeReader(self._database, self._runtime)
        self._queued.clear()
        self._failed = False

    def record(self, ids: Iterable[str], *, is_over: bool = False) -> bool:
        """Record exchanges, and return when they are in the hub; False where it takes none.

        Those that are still open are left, unless the proxy is over.
        """
        for exchange_id in ids:
            if exchange_id not in self._queued:
                self._record_one(exchange_id, is_over)
            if len(self._queued) >= _MAX_WAITING:
                self._recorder.flush()
        self._recorder.flush()
        if self._failed:
            self._recorder.close()
            self._open()
            return False
        return True

    def close(self) -> None:
        self._recorder.close()

    def _record_one(self, exchange_id: str, is_over: bool) -> None:
        try:
            exchange = read_exchange(self._folder.file_of(exchange_id))
        except FileNotFoundError:
            return
        if exchange is None or not (exchange.ended or is_over):
            if is_over:
                self._folder.remove(exchange_id)  # killed before the request was sent
            return
        known = proxied.find_request_state(self._database, exchange_id)
        if known == "recorded":
            self._folder.remove(exchange_id)
            return
        writes = join_writes(self._reader.build_writes(exchange_id, exchange))
        if known == "reserved":
            writes = tuple(_update_request(write, exchange_id) for write in writes)
        self._queued.add(exchange_id)
        self._recorder.begin(writes, lambda error: self._finish(exchange_id, error))

    def _finish(self, exchange_id: str, error: LlmctlError | None) -> None:
        if error is None:
            self._folder.remove(exchange_id)
        else:
            self._failed = True
        self._queued.discard(exchange_id)


def _update_request(write: Write, exchange_id: str) -> Write:
    """Return the write for a request that was reserved before it was sent."""
    if isinstance(write, Insert) and write.table == "requests":
        kept = {name: value for name, value in write.row.items() if name not in ("id", "created_at")}
        return Update("requests", exchange_id, {"reserved_cost": None, **kept})
    return write


def record_left_folders(database: Database, parent: str, runtime: RuntimeEnv) -> None:
    """Record what dead proxies left."""
    for path in list_folders(parent):
        folder = ExchangeFolder.take_over(path)
        if folder is None:
            continue
        recorder = FolderRecorder(database, folder, runtime)
        with suppress(OSError):
            recorder.record(folder.list_ids(), is_over=True)
        recorder.close()
        folder.close()


def main(hub_path: str, folder_path: str, lock: int, stdin: int, env: Mapping[str, str]) -> None:
    """Record until stdin ends. ``lock`` is the descriptor with which the folder is locked, ``stdin`` that of stdin."""
    runtime = RuntimeEnv.from_environ(env)
    folder = ExchangeFolder(folder_path, lock)
    database = open_hub(hub_path, "write")
    recorder = FolderRecorder(database, folder, runtime)
    try:
        record_left_folders(database, os.path.dirname(folder_path), runtime)
        _record_until_end(recorder, folder, stdin)
    finally:
        recorder.close()
        database.close()
        folder.close()


def _record_until_end(recorder: FolderRecorder, folder: ExchangeFolder, stdin: int) -> None:
    os.set_blocking(stdin, False)
    rest, next_scan = b"", time.monotonic() + _RESCAN_S
    while True:
        ready, _, _ = select.select([stdin], [], [], max(0.0, next_scan - time.monotonic()))
        data = os.read(stdin, 65536) if ready else None
        if data == b"":
            break
        *lines, rest = (rest + (data or b"")).split(b"\n")
        ids = [line.decode() for line in lines]
        if time.monotonic() >= next_scan:
            ids, next_scan = folder.list_ids(), time.monotonic() + _RESCAN_S
        if ids and not recorder.record(ids):
            time.sleep(_RETRY_S)
            next_scan = time.monotonic()
    for _ in range(_LAST_TRIES):
        if recorder.record(folder.list_ids(), is_over=True):
            break
        time.sleep(_RETRY_S)


def folder_name() -> str:
    """Return the name of a new proxy's folder."""
    return f"{os.getpid()}-{new_id()[:8]}"
