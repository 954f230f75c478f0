"""Tests against other programs, as they are: only when asked for (``LLMCTL_OPTIN=1``), for they download much."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.optin)
            if os.environ.get("LLMCTL_OPTIN") != "1":
                item.add_marker(pytest.mark.skip(reason="asks for LLMCTL_OPTIN=1"))
