"""llmctl within this process: a tenth of the time, where no signal, terminal or real stdin is at stake."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from llmctl.cli.command_tree import program

Within = Callable[..., Result]


@pytest.fixture
def run(env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Within:
    """Run a command line: ``run("metric", "list", input="...")``."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments, input=None: CliRunner().invoke(program(), list(arguments), input=input)


def parsed(done: Result) -> Any:
    """Return the JSON of a command that must have gone well."""
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
