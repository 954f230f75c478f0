"""Fixtures of the acceptance tests: a hub with a connection to a fake server, and llmctl on it."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from llmctl.engine.connections import trust
from llmctl.store import opening
from tests.acceptance.hub_file import HubFile
from tests.fakes.openai_server import FakeServer
from tests.harness import Llmctl, build_env


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A new hub."""
    path = str(tmp_path_factory.mktemp("template") / "hub.db")
    opening.create(path)
    return path


@pytest.fixture
def home(tmp_path: Path) -> str:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return str(folder)


@pytest.fixture
def hub(template: str, home: str, server: FakeServer) -> HubFile:
    """A hub in the home folder, with the connection ``fake``."""
    path = f"{home}/hub.db"
    shutil.copy2(template, path)
    with closing(opening.open_hub(path, "write")) as database:
        trust.trust_hub(database, {"HOME": home})
    file = HubFile(path)
    file.connect("fake", server.url, key="env:FAKE_KEY")
    return file


@pytest.fixture
def llmctl(home: str, hub: HubFile) -> Llmctl:
    """llmctl on that hub, with a key for the fake server."""
    return Llmctl(build_env(home, LLMCTL_DB=hub.path, LLMCTL_MODEL="fake", FAKE_KEY="fake-key-0123456789"), home)


@pytest.fixture
def llmctl_without_hub(home: str) -> Llmctl:
    """llmctl in an empty home, with nothing in its environment."""
    return Llmctl(build_env(home), home)
