"""Fixtures of the tests of the Python API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from llmctl import Hub
from tests.fakes.openai_server import FakeServer


@pytest.fixture
def hub(env: Mapping[str, str]) -> Iterator[Hub]:
    with Hub(env=env) as hub:
        yield hub


@pytest.fixture
def online(env: Mapping[str, str], server: FakeServer) -> Iterator[Hub]:
    """A hub whose openai is the fake server."""
    with Hub(env={**env, "OPENAI_API_KEY": "sk-test", "OPENAI_API_BASE": server.url}) as hub:
        yield hub
