"""Fixtures that all tests share: an environment without keys, a hub in it, and llmctl on that hub."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from llmctl.engine.connections import trust
from llmctl.store.opening import create, open_hub
from tests.fakes.hub_builder import RENAMED, HubBuilder
from tests.fakes.openai_server import FakeServer
from tests.harness import Llmctl, RunInProcess, build_env, run_in_process

# A loaded machine is slow, not wrong.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job: child processes would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a new user, without keys or a hub."""
    home = tmp_path / "home"
    home.mkdir()
    inherited = {name: os.environ[name] for name in ("PYTEST_CURRENT_TEST",) if name in os.environ}  # means: offline
    return build_env(str(home), LLMCTL_DB=str(tmp_path / "hub.db"), **inherited)


@pytest.fixture
def llmctl(env: dict[str, str], tmp_path: Path) -> Llmctl:
    """llmctl in that environment: ``llmctl("chat", "-m", "echo", "hi", input="...", env={...})``."""
    return Llmctl(env, str(tmp_path))


@pytest.fixture
def llmctl_in_process(env: dict[str, str]) -> RunInProcess:
    """The same within this process: ``llmctl_in_process("metric", "list", input="...")``."""
    return partial(run_in_process, env=env)


@pytest.fixture
def hub(env: dict[str, str]) -> Iterator[HubBuilder]:
    """The hub of that environment, open for a test to write rows into."""
    with closing(open_hub(env["LLMCTL_DB"], "create")) as database:
        trust.identify_hub(database, env)
        yield HubBuilder(database)


@pytest.fixture(params=[{}, RENAMED], ids=["plain", "renamed"])
def any_hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubBuilder]:
    """A hub with its default table names, and one in which every table is renamed."""
    path = str(tmp_path / "any.db")
    create(path, request.param)
    with closing(open_hub(path, "write")) as database:
        yield HubBuilder(database)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake provider on loopback."""
    with FakeServer() as running:
        yield running
