"""Fixtures of the transport tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.fakes.peer import Peer, Script


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """Return a function that starts a peer with a script."""
    started: list[Peer] = []

    def start(script: Script, *, secure: bool = False) -> Peer:
        started.append(Peer(script, secure))
        return started[-1]

    yield start
    for one in started:
        one.close()
