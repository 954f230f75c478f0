"""Tests against other programs, which are downloaded: only with ``LLMCTL_OPTIN=1``."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.optin.postgresql import PostgresServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.optin)
            if os.environ.get("LLMCTL_OPTIN") != "1":
                item.add_marker(pytest.mark.skip(reason="asks for LLMCTL_OPTIN=1"))


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresServer]:
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        pytest.skip("NOT TESTED: PostgreSQL is not installed")
    folder = tempfile.mkdtemp(prefix="llmctl-pg-", dir="/tmp")  # a socket's path has to be short
    running = PostgresServer(folder)
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)
