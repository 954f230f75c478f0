"""``llmctl proxy``: record what other programs send to models."""

from __future__ import annotations

import os
import shlex
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.core import humanize
from llmctl.core.environment import find_repository
from llmctl.core.errors import ConfigError, NotFoundError, UsageError
from llmctl.core.options import TURN_OPTIONS, check_value
from llmctl.core.plugins import install_command
from llmctl.core.signals import Signalled
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.runtime import current_folder
from llmctl.store.database import Database
from llmctl.store.records import proxied, settings

if TYPE_CHECKING:  # aiohttp: for this command only
    from llmctl.engine.proxy.gate import ProxyOptions

DEFAULT_PORT = 4141


def run(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Command to run behind the proxy.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help=f"Port [{DEFAULT_PORT}; with a command, and for 0: a free one]."),
    ] = None,
    name: Annotated[str | None, typer.Option("--app", metavar="NAME", help="Name of the calling program.")] = None,
    max_cost: Annotated[
        float | None, typer.Option(metavar="USD", help="Refuse requests that might cost more in all (exit 7 for them).")
    ] = None,
    no_log: Annotated[bool, typer.Option("--no-log", "-n", help="Keep tokens and cost only, no text.")] = False,
    require_key: Annotated[
        bool, typer.Option("--require-key", help="Serve only programs with the key of an app.")
    ] = False,
    forward_anyway: Annotated[
        bool, typer.Option("--forward-anyway", help="Forward even what cannot be recorded.")
    ] = False,
) -> None:
    """Serve the proxy, for one command or until Ctrl-C.

    Forwards every byte unchanged to the provider and records it: chats, tokens, cost. With a command, the proxy has a
    port of its own, sets ANTHROPIC_BASE_URL, OPENAI_BASE_URL, OPENAI_API_BASE, GOOGLE_GEMINI_BASE_URL and OLLAMA_HOST
    for it, and exits with its exit code. Keys pass through and are never kept.

    Examples:
      llmctl proxy -- claude
      llmctl proxy --max-cost 5 -- codex exec "fix the tests"
      llmctl proxy --port 4141
    """
    app: App = ctx.obj
    _require_aiohttp()
    from llmctl.engine.proxy.gate import ProxyOptions

    folder = current_folder()
    options = ProxyOptions(
        app=name or (os.path.basename(command[0]) if command else None),
        folder=folder,
        project=find_repository(folder) or folder,
        no_log=no_log,
        require_key=require_key,
        forward_anyway=forward_anyway,
        max_cost=None if max_cost is None else check_value(TURN_OPTIONS["max_cost"], max_cost, "--max-cost"),
    )
    _record(app, options, list(command or ()), port)


def _record(app: App, options: ProxyOptions, command: list[str], port: int | None) -> None:
    """Run the proxy, and exit as its command did, or by the signal that stopped it."""
    from llmctl.engine.proxy.run import run_proxy

    wanted = port if port is not None else 0 if command else DEFAULT_PORT
    database, status, stopped = app.hub("create"), 0, None
    with run_proxy(database, app.runtime_env(), options, settings.list_changed(database), wanted) as proxy:
        try:
            status = proxy.run_command(command, app.env) if command else _serve(app, proxy.port)
        except Signalled as signalled:
            stopped = signalled
    app.console.note(_summarize(database, proxy.job_id))
    if stopped is not None:
        raise stopped
    raise typer.Exit(status)


def _serve(app: App, port: int) -> int:
    app.console.note(f"the proxy listens on http://127.0.0.1:{port}; stop it with Ctrl-C")
    app.console.note('in another shell: eval "$(llmctl proxy env)"')
    threading.Event().wait()  # until a signal
    return 0


def _summarize(database: Database, job_id: str) -> str:
    """Return what a proxy recorded: ``42 requests, 1.2M tokens, $3.10, chat "claude in llmctl"``."""
    found = proxied.summarize_job(database, job_id)
    parts = [humanize.pluralize(found["requests"], "request")]
    if found["tokens"]:
        parts.append(f"{humanize.format_compact(found['tokens'])} tokens")
    if found["requests"]:
        parts.append(humanize.format_dollars(found["cost"]) if found["cost"] is not None else "cost unknown")
    if found["unpriced"]:
        parts.append(f"{found['unpriced']} without a price")
    if found["list_cost"]:
        parts.append(f"{humanize.format_dollars(found['list_cost'])} at list price (subscription)")
    chats = proxied.list_chat_names(database, job_id)
    if chats:
        parts.append(f'chat "{chats[0]}"' + (f" and {len(chats) - 1} more" if len(chats) > 1 else ""))
    return ", ".join(parts)


def _require_aiohttp() -> None:
    if find_spec("aiohttp") is None:
        raise ConfigError(
            'the "aiohttp" package is not installed', hint=install_command("aiohttp"), reason="no_aiohttp"
        )


def env(
    ctx: typer.Context,
    shell: Annotated[str, typer.Argument(metavar="[SHELL]", help="bash, zsh or fish.")] = "bash",
    name: Annotated[str | None, typer.Option("--app", metavar="NAME", help="Count these programs as this app.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Print the variables with which programs use a running proxy.

    Examples:
      eval "$(llmctl proxy env)"
      llmctl proxy env fish --app notebook | source
    """
    app: App = ctx.obj
    if shell not in _SHELLS:
        raise UsageError(f'SHELL must be bash, zsh or fish, got "{shell}"')
    from llmctl.engine.proxy.routes import environment_for

    running = _list_running(app.hub())
    if not running:
        raise NotFoundError("no proxy is running", hint="start one: llmctl proxy", reason="no_proxy")
    variables = environment_for(running[0]["port"], name)
    if as_json:
        app.console.io.write(dumps(variables) + "\n")
        return
    line = "set -gx {} {}\n" if shell == "fish" else "export {}={}\n"
    for variable, value in variables.items():
        app.console.io.write(line.format(variable, shlex.quote(value)))


_SHELLS = ("bash", "zsh", "fish")

_STATUS_COLUMNS = (
    OutputColumn("job_id", "id"),
    OutputColumn("port", "number"),
    OutputColumn("app"),
    OutputColumn("since", "time"),
    OutputColumn("waiting", "number"),
    OutputColumn("requests", "number"),
    OutputColumn("tokens", "number"),
    OutputColumn("cost", "cost"),
)


@list_output
def status(ctx: typer.Context) -> None:
    """Show running proxies and what they have recorded.

    "waiting" counts exchanges that are open or not yet in the hub.

    Examples:
      llmctl proxy status
      llmctl proxy status --json
    """
    app: App = ctx.obj
    emit_list(app.console, _list_running(app.hub()), _STATUS_COLUMNS)


def _list_running(database: Database) -> list[dict[str, Any]]:
    """Return the running proxies, newest first."""
    from llmctl.engine.jobs import lease
    from llmctl.engine.proxy.run import count_waiting

    found = []
    for job in proxied.list_proxy_jobs(database):
        if not lease.is_alive(job):
            continue
        payload = loads(job.payload, {})
        summary = proxied.summarize_job(database, job.id)
        found.append(
            {"job_id": job.id, "port": payload.get("port"), "app": payload.get("app"), "since": job.started_at}
            | {"waiting": count_waiting(payload.get("folder"))}
            | {name: summary[name] for name in ("requests", "tokens", "cost")}
        )
    return found
