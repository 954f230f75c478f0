"""What is kept in a table by hand is complete: each file, provider, wire and variable that exists is registered."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from llmctl.cli.catalog import CATALOG, is_group, locate_function, subcommands
from llmctl.cli.help.topics import ENVIRONMENT_HELP
from llmctl.providers import PROVIDERS, Provider
from llmctl.wire import WIRES
from tests.fakes.hosts import HOSTS

PACKAGE = Path(import_module("llmctl").__path__[0])


def command_paths(path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if path and not is_group(path):
        yield path
    if path and not (CATALOG[path[0]].subcommands if len(path) == 1 else is_group(path)):
        return
    for word in subcommands(path):
        yield from command_paths((*path, word))


def test_each_command_module_is_reached_from_the_catalog() -> None:
    commands = import_module("llmctl.cli.commands")
    root = Path(commands.__path__[0])
    reached = {locate_function(path)[0] for path in command_paths()}
    modules = {
        ".".join((commands.__name__, *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for path in root.rglob("*.py")
        if "shared" not in path.parts
    }
    unreached = modules - reached
    assert len(reached) > 50
    # A package may hold nothing but its verbs' modules; it and the modules that verbs share have no command.
    assert {module for module in unreached if _has_command(module)} == set()


def _has_command(module: str) -> bool:
    tree = ast.parse(Path(import_module(module).__file__ or "").read_text(encoding="utf-8"))
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    return any("typer." in ast.unparse(node.args) for node in public)


def test_each_command_has_its_function() -> None:
    paths = list(command_paths())
    assert len(paths) > 100
    for path in paths:
        module, function = locate_function(path)
        assert callable(getattr(import_module(module), function)), path


def test_each_provider_is_registered() -> None:
    modules = [import_module(f"llmctl.providers.{path.stem}") for path in (PACKAGE / "providers").glob("[a-z]*.py")]
    declared = {one.name for module in modules for one in vars(module).values() if isinstance(one, Provider)}
    registered = {PROVIDERS.load(name).name for name in PROVIDERS.names()}
    assert "openai" in declared
    assert declared == registered


def test_each_wire_is_registered_and_has_a_fake_host() -> None:
    files = (PACKAGE / "wire").glob("*/__init__.py")
    folders = {path.parent.name for path in files if "\nWIRE = " in path.read_text(encoding="utf-8")} | {"echo"}
    assert {name.replace("-", "_") for name in WIRES.names()} == folders
    assert {host.wire for host in HOSTS.values()} == set(WIRES.names()) - {"echo"}


def environment_names() -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    return {name for text in texts for name in re.findall(r"\b(?:LLMCTL|NODELLM)_[A-Z_]*[A-Z]\b", text)}


@pytest.mark.parametrize("name", sorted(environment_names()))
def test_each_variable_is_in_the_help(name: str) -> None:
    assert any(name in variables for variables in ENVIRONMENT_HELP.values())
