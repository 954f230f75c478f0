"""Run a proxy: its server in a thread, its recorder in a process, and a job in the hub as long as it lasts."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from llmctl.core.errors import UnavailableError
from llmctl.core.signals import block_signals
from llmctl.core.stored_values import dumps
from llmctl.engine.jobs.lease import tracked_job
from llmctl.engine.proxy.apps import AppTable
from llmctl.engine.proxy.budget import ProxyBudget
from llmctl.engine.proxy.gate import ProxyGate, ProxyOptions
from llmctl.engine.proxy.recorder import folder_name
from llmctl.engine.proxy.routes import RouteTable, environment_for
from llmctl.engine.runtime import RuntimeEnv
from llmctl.store.database import Database, Update
from llmctl.store.exchange_spool import ExchangeFolder
from llmctl.store.opening import open_hub
from llmctl.tools.process import run_on_terminal, start_helper
from llmctl.transport.proxy import ProxyServer, open_listener

_RECORDER = """\
import os, sys
sys.path += sys.argv[4:]
from llmctl.engine.proxy.recorder import main
main(sys.argv[1], sys.argv[2], int(sys.argv[3]), 0, os.environ)
"""


class RunningProxy:
    """A proxy that serves."""

    def __init__(self, port: int, job_id: str) -> None:
        self.port = port
        self.job_id = job_id

    def run_command(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Run a command on our terminal that uses the proxy, and return its exit status."""
        variables = environment_for(self.port)
        return run_on_terminal(_with_base_url(command, variables), {**env, **variables})


def _with_base_url(command: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Return the command; Codex reads its base URL from its configuration only."""
    if os.path.basename(command[0]) == "codex":
        setting = f"openai_base_url={dumps(variables['OPENAI_BASE_URL'])}"
        return [command[0], "-c", setting, *command[1:]]
    return list(command)


@contextmanager
def run_proxy(
    database: Database, runtime: RuntimeEnv, options: ProxyOptions, settings: Mapping[str, Any], port: int
) -> Iterator[RunningProxy]:
    """Serve while the block runs. Its end waits for open requests; when it is over, everything is recorded.

    Raises UnavailableError where the port is taken.
    """
    _raise_file_limit()
    folder = ExchangeFolder.create(proxy_folder(database.path), folder_name())
    with tracked_job(database, options.app or "proxy", "proxy") as job_id:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        argv = [sys.executable, "-Pc", _RECORDER, database.path, folder.path, str(folder.lock), *sys.path]
        wait_for_recorder = start_helper(argv, env=runtime.env, stdin_fd=reader, shared_fds=[folder.lock])
        os.close(reader)

        def build_gate(own: Database, port: int) -> ProxyGate:
            routes, apps = RouteTable(own, runtime, port), AppTable(own)
            budget = ProxyBudget(own, settings, options.max_cost, apps.find, runtime.env)
            notify = partial(_notify, writer)
            return ProxyGate(options.replace(job_id=job_id), folder, routes, apps.find, budget.reserve, notify)

        server = _ServerThread(database.path, build_gate)
        try:
            server.start(port)
            payload = {"port": server.port, "app": options.app, "folder": folder.path}
            database.commit(Update("jobs", job_id, {"payload": dumps(payload)}))
            yield RunningProxy(server.port, job_id)
        finally:
            server.stop()
            os.close(writer)
            wait_for_recorder()
            folder.close()


class _ServerThread:
    """Serves in a thread, with a connection to the hub of its own."""

    def __init__(self, hub_path: str, build_gate: Callable[[Database, int], ProxyGate]) -> None:
        self._hub_path = hub_path
        self._build_gate = build_gate
        self._loop = asyncio.new_event_loop()
        self._thread = ThreadPoolExecutor(1, "proxy")
        self._running: Future[None] | None = None
        self._started: Future[int] = Future()
        self._stopped = asyncio.Event()
        self.port = 0

    def start(self, port: int) -> None:
        """Serve from now on. Raises UnavailableError where the port is taken."""
        with block_signals():
            self._running = self._thread.submit(self._loop.run_until_complete, self._run(port))
        futures: tuple[Future[Any], ...] = (self._started, self._running)
        wait(futures, return_when=FIRST_COMPLETED)
        try:
            if self._running.done():
                self._running.result()
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on port {port}: {os.strerror(error.errno or 0).lower()}",
                hint="let it choose a port: llmctl proxy --port 0",
                reason="port",
            ) from None
        self.port = self._started.result()

    def stop(self) -> None:
        """Take no more requests, and return when the open ones are over."""
        if self._running and not self._running.done():
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.shutdown()
        self._loop.close()

    async def _run(self, port: int) -> None:
        database = open_hub(self._hub_path, "write")
        try:
            listener = open_listener(port)
            bound = int(listener.getsockname()[1])
            server = ProxyServer(self._build_gate(database, bound))
            await server.start(listener)
            self._started.set_result(bound)
            await self._stopped.wait()
            await server.close()
        finally:
            database.close()


def proxy_folder(hub_path: str) -> str:
    """Return where exchanges wait until they are recorded: beside the hub."""
    return f"{os.path.realpath(hub_path)}.proxy"


def count_waiting(folder: str | None) -> int:
    """Return how many exchanges of a proxy are open, or not in the hub."""
    return len(ExchangeFolder.list_ids_in(folder)) if folder and os.path.isdir(folder) else 0


def _notify(writer: int, exchange_id: str) -> None:
    """Tell the recorder of an exchange that is over; it finds by itself what it is not told of."""
    with suppress(OSError):
        os.write(writer, f"{exchange_id}\n".encode())


def _raise_file_limit() -> None:
    """Allow as many open files as the system does: each stream takes three."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
