"""Fixtures of the wire tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wire import recordings


@pytest.fixture(scope="module", params=recordings.CHUNKINGS)
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The replay server under every way to cut a body; its base URL."""
    with recordings.run_replay_server(request.param) as address:
        yield address
