"""Agents that are classes in Python files. The files are opened in a process of their own, as their tools are."""

from __future__ import annotations

import os
from typing import Any

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.tools import Tool
from llmctl.engine.agents import definition as agents_definition
from llmctl.engine.agents.definition import Definition
from llmctl.engine.connections.target import Env
from llmctl.engine.tools.context import Lender
from llmctl.engine.turn.options import Surroundings


def place(source: str) -> tuple[str, str | None]:
    """Return file and class of ``FILE.py:Class`` or ``FILE.py``; of any other source the source itself."""
    file, colon, name = source.rpartition(":")
    return (file, name) if colon and file.endswith(".py") else (source, None)


def read(source: str, env: Env) -> Definition:
    """Return what a class says of its agent. Raises UsageError for a file without one, or with several."""
    path, name = place(source)
    if not os.path.isfile(path):
        raise NotFoundError(f'cannot read "{path}": there is no such file')
    found = _asked(path, name, env)
    tools = [_tool(one, path) for one in found.pop("own_tools")]
    definition = agents_definition.of_values({**found, "tools": [*found["tools"], *map(_given, tools)]}, source)
    return agents_definition.with_own_tools(definition, [one["record"] for one in tools])


def _asked(path: str, name: str | None, env: Env) -> dict[str, Any]:
    from llmctl.tools import python

    lender = Lender(Surroundings.of(env), path)
    found, said = python.agent(path, name, lender.context(Tool("", "python"), lambda piece: None))
    if not isinstance(found, dict):
        lines = said.splitlines() or ["it says nothing"]
        raise UsageError(f'"{path}" holds no agent that can be read: {lines[-1]}', hint="name it: FILE.py:Class")
    return found


def _tool(one: dict[str, Any], path: str) -> dict[str, Any]:
    data = {"file": path, "function": one["function"], "source": one["source"]}
    if one["timeout"] is not None:
        data["timeout"] = one["timeout"]
    record = {"name": one["name"], "type": "python", "description": one["description"], "schema": one["schema"]}
    return {"record": record | {"data": data}, "permission": one["permission"]}


def _given(tool: dict[str, Any]) -> str:
    """Return a tool as a file names it: it may narrow what the tool may do, never widen it."""
    permission = tool["permission"]
    return str(tool["record"]["name"]) + (f":{permission}" if permission not in ("automatic", "auto") else "")
