"""What the acceptance tests stand on: a home of their own, a hub with a connection to a fake server, llmctl itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmctl.store import opening
from tests.acceptance.hubs import Hub
from tests.acceptance.processes import Llmctl
from tests.fakes.openai_server import FakeServer


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A hub that was just made."""
    path = str(tmp_path_factory.mktemp("template") / "hub.db")
    opening.create(path)
    return path


@pytest.fixture
def home(tmp_path: Path) -> str:
    """A home folder with nothing in it."""
    folder = tmp_path / "home"
    folder.mkdir()
    return str(folder)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def hub(template: str, home: str, server: FakeServer) -> Hub:
    """A hub in the home folder, with the connection ``fake``."""
    path = f"{home}/hub.db"
    shutil.copy2(template, path)
    found = Hub(path)
    found.connect("fake", server.url, key="env:FAKE_KEY")
    return found


@pytest.fixture
def llmctl(home: str, hub: Hub) -> Llmctl:
    """llmctl on that hub, with a key for the fake server."""
    return Llmctl(home, {"LLMCTL_DB": hub.path, "LLMCTL_MODEL": "fake", "FAKE_KEY": "fake-key-0123456789"})


@pytest.fixture
def bare(home: str) -> Llmctl:
    """llmctl in an empty home, with nothing in its environment."""
    return Llmctl(home, {})
