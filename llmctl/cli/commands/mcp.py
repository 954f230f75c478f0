"""``llmctl mcp``: the history of a project for agents."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer

from llmctl import __version__
from llmctl.cli.app import App
from llmctl.cli.atomic_write import write_file
from llmctl.core.environment import find_repository, make_private_folder
from llmctl.core.errors import ConfigError, UsageError
from llmctl.core.options import TURN_OPTIONS, check_value
from llmctl.core.plugins import install_command
from llmctl.engine.runtime import current_folder
from llmctl.store.opening import open_hub

_EXTRAS = ("ask", "query")
#: Returns a configuration file with the server, from its text, the server's command and its path.
Merge = Callable[[str, Sequence[str], str], str]


def serve(
    ctx: typer.Context,
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="Offer the chats of every folder, not of this project only.")
    ] = False,
    allow: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Further tools: ask (with --max-cost), query.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(metavar="USD", help="The most that ask may cost in all.")] = None,
    http: Annotated[
        int | None, typer.Option("--http", metavar="PORT", min=1, max=65535, help="Serve HTTP on loopback, not stdio.")
    ] = None,
) -> None:
    """Serve history, usage, models and prompt files over MCP.

    Offers the tools search_history, read_chat, usage and list_models over the chats of the current project, which is
    the repository of the working folder; chats with a request tagged "private" are left out. Prompt files are prompts.

    Examples:
      llmctl mcp serve
      llmctl mcp serve --all-projects --allow ask,query --max-cost 1
    """
    app: App = ctx.obj
    allowed = tuple(name.strip() for name in (allow or "").split(",") if name.strip())
    for name in allowed:
        if name not in _EXTRAS:
            raise UsageError(f'--allow must be a list of {", ".join(_EXTRAS)}, got "{name}"')
    if "ask" in allowed and max_cost is None:
        raise UsageError("--allow ask requires --max-cost", hint="for example: --allow ask --max-cost 1")
    limit = 0.0 if max_cost is None else check_value(TURN_OPTIONS["max_cost"], max_cost, "--max-cost")
    try:
        from llmctl.engine import mcp_service
    except ImportError:
        raise ConfigError('the "mcp" package is not installed', hint=install_command("mcp"), reason="no_mcp") from None
    folder = current_folder()
    root = None if all_projects else find_repository(folder) or folder
    scope = mcp_service.ServiceScope(root=root, allowed=allowed)
    writer = app.hub("write")
    with closing(open_hub(writer.path, "read")) as reader:
        asker = mcp_service.build_model_caller(writer, app.runtime_env(), limit)
        service = mcp_service.build_service(reader, writer, scope, app.env, __version__, asker)
        if http is not None:
            app.console.note(f"the server listens on http://127.0.0.1:{http}/mcp; stop it with Ctrl-C")
        mcp_service.serve(service, http)


def install(
    ctx: typer.Context,
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="claude, codex, gemini, cursor or vscode.")],
    print_only: Annotated[bool, typer.Option("--print", help="Print what would be added, and to which file.")] = False,
) -> None:
    """Add the server to an agent: claude, codex, gemini, cursor or vscode.

    Asks on a terminal; elsewhere --print shows what to add.

    Examples:
      llmctl mcp install claude
      llmctl mcp install codex --print
    """
    app: App = ctx.obj
    if agent not in _AGENTS:
        raise UsageError(f'AGENT must be one of {", ".join(_AGENTS)}, got "{agent}"')
    place, merge = _AGENTS[agent]
    path = os.path.join(app.home if place.startswith("~") else current_folder() or ".", place.removeprefix("~/"))
    command = _server_command(app)
    before = _read(path)
    after = merge(before, command, path)
    if print_only:
        app.console.io.write(f"{path}\n\n{merge('', command, path)}")
        return
    if after == before:
        app.console.note(f"{path} has the server already")
        return
    confirm = app.runtime_env().confirm
    if confirm is None:
        raise UsageError("nobody can be asked here", hint=f"see what to add: llmctl mcp install {agent} --print")
    if not confirm(f"Add the MCP server llmctl to {path}?"):
        return
    make_private_folder(os.path.dirname(path))
    write_file(path, after)
    app.console.note(f"added the MCP server llmctl to {path}")


def _server_command(app: App) -> list[str]:
    """Return the command that starts the server, for programs with another PATH."""
    program = os.path.join(os.path.dirname(sys.executable), "llmctl")
    hub = ["--db", os.path.abspath(app.hub_path)] if app.db else []
    return [program if os.access(program, os.X_OK) else "llmctl", *hub, "mcp", "serve"]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'cannot read "{path}": {error}') from None


def _merge_json(key: str) -> Merge:
    """Return what adds the server to an object of a JSON file."""

    def merge(before: str, command: Sequence[str], path: str) -> str:
        try:
            document: Any = json.loads(before or "{}")
        except ValueError as error:
            raise ConfigError(f'"{path}" is not valid JSON: {error}') from None
        servers = document.setdefault(key, {}) if isinstance(document, dict) else None
        if not isinstance(servers, dict):
            raise ConfigError(f'"{path}" has no object "{key}"')
        if "llmctl" in servers:
            return before
        servers["llmctl"] = {"command": command[0], "args": list(command[1:])}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    return merge


def _merge_toml(before: str, command: Sequence[str], path: str) -> str:
    """Return a TOML file with a table for the server at its end."""
    try:
        known = tomllib.loads(before)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f'"{path}" is not valid TOML: {error}') from None
    if "llmctl" in known.get("mcp_servers", {}):
        return before
    table = f"[mcp_servers.llmctl]\ncommand = {json.dumps(command[0])}\nargs = {json.dumps(list(command[1:]))}\n"
    return f"{before.rstrip()}\n\n{table}" if before.strip() else table


_AGENTS: dict[str, tuple[str, Merge]] = {
    "claude": ("~/.claude.json", _merge_json("mcpServers")),
    "codex": ("~/.codex/config.toml", _merge_toml),
    "gemini": ("~/.gemini/settings.json", _merge_json("mcpServers")),
    "cursor": ("~/.cursor/mcp.json", _merge_json("mcpServers")),
    "vscode": (".vscode/mcp.json", _merge_json("servers")),
}
