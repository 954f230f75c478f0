"""What another package adds by entry points: an installed distribution, made by hand in a folder of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from llmctl.core.plugins import install_command
from tests.harness import Llmctl

MODULE = """
from dataclasses import replace

from llmctl.core.tools import Ran
from llmctl.providers.echo import PROVIDER as ECHO
from llmctl.tools import ToolType
from llmctl.wire.echo import WIRE as ECHO_WIRE

PROVIDER = replace(ECHO, name="acme", wire="acme-wire", default_model="acme-1")
WIRE = replace(ECHO_WIRE, name="acme-wire")
TYPE = ToolType(lambda tool, arguments, context: Ran(arguments["text"].upper() + tool.data["end"]), dict)


def titles(conversations):
    for conversation in conversations:
        texts = [message["content"] for message in conversation.messages]
        yield f"<{conversation.title}> {conversation.chat['name']} {texts}"


def emit(catalogue, names, **options):
    return "-- acme"
"""
ENTRY_POINTS = """
[llmctl.providers]
acme = acme_llm:PROVIDER
ghost = acme_llm:NOTHING
[llmctl.wires]
acme-wire = acme_llm:WIRE
[llmctl.tools]
acme-shout = acme_llm:TYPE
wrong = acme_llm:WIRE
gone = acme_gone:TYPE
[llmctl.exports]
titles = acme_llm:titles
[llmctl.emitters]
acme-sql = acme_llm:emit
"""


@pytest.fixture
def installed(env: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment in which the package ``acme-llm`` is installed."""
    site = tmp_path / "site"
    info = site / "acme_llm-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "acme_llm.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-llm\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    root = str(Path(__file__).parent.parent)
    return {**env, "PYTHONPATH": os.pathsep.join((root, str(site)))}


def test_provider_and_wire_of_another_package_answer(llmctl: Llmctl, installed: dict[str, str]) -> None:
    done = llmctl("chat", "-m", "acme:acme-2", "hello", "--json", env=installed)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["provider"], answer["model"], answer["content"]) == ("acme", "acme-2", "hello")
    again = llmctl("chat", "--chat", answer["chat_id"], "again", "--json", env=installed)
    assert json.loads(again.stdout)["provider"] == "acme"


def test_tool_type_format_and_emitter_of_another_package_are_used(llmctl: Llmctl, installed: dict[str, str]) -> None:
    schema = '{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}'
    words = ("tool", "add", "shout", "--type", "acme-shout", "--schema", schema, "--data", '{"end":"!"}')
    done = llmctl(*words, env=installed)
    assert done.returncode == 0, done.stderr
    assert llmctl("tool", "invoke", "shout", "--arg", "text=hey", env=installed).stdout == "HEY!\n"
    llmctl("chat", "-m", "echo", "--name", "first", "hi", env=installed, check=True)
    assert llmctl("export", "--all", "--format", "titles", env=installed).stdout.strip() == "<first> first ['hi', 'hi']"
    assert llmctl("schema", "emit", "acme-sql", env=installed).stdout.strip() == "-- acme"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("tool", "add", "t", "--type", "gone"), "No module named 'acme_gone'"),
        (("tool", "add", "t", "--type", "wrong"), "it must be of type ToolType, got Wire"),
        (("chat", "-m", "ghost:x", "hi"), "has no attribute 'NOTHING'"),
    ],
    ids=["missing module", "another kind of thing", "missing name"],
)
def test_broken_plug_in_names_its_package(
    llmctl: Llmctl, installed: dict[str, str], words: tuple[str, ...], why: str
) -> None:
    done = llmctl(*words, env=installed)
    assert done.returncode == 4
    assert 'of package "acme-llm"' in done.stderr
    assert why in done.stderr
    assert "uninstall acme-llm" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_name_lists_those_of_other_packages(llmctl: Llmctl, installed: dict[str, str]) -> None:
    done = llmctl("tool", "add", "t", "--type", "acme-shouts", env=installed)
    assert done.returncode == 2
    assert "did you mean acme-shout?" in done.stderr


@pytest.mark.parametrize(
    ("marker", "command"),
    [
        ("pipx_metadata.json", "pipx inject llmctl-hub mcp"),
        ("uv-receipt.toml", "uv tool install llmctl-hub --with mcp"),
        ("", " mcp"),
    ],
)
def test_install_command_is_that_of_the_environment(
    marker: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "llmctl-hub"
    prefix.mkdir()
    if marker:
        (prefix / marker).write_text("")
    monkeypatch.setattr("sys.prefix", str(prefix))
    assert install_command("mcp").endswith(command)
    assert "llmctl[" not in install_command("mcp")
