"""``llmctl doctor``: problems of the hub, its connections and the shell, and how to fix them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.core.humanize import pluralize
from llmctl.engine.maintenance import doctor as maintenance_doctor
from llmctl.engine.maintenance.doctor import CheckResult

_COLUMNS = [
    OutputColumn("name"),
    OutputColumn("status", "status"),
    OutputColumn("message"),
    OutputColumn("hint"),
    OutputColumn("kind", is_default=False),
]
#: Where shells look for completions on their own.
_COMPLETION_PATHS = (
    "{home}/.local/share/bash-completion/completions/llmctl",
    "/usr/share/bash-completion/completions/llmctl",
    "/usr/share/zsh/site-functions/_llmctl",
    "/usr/share/zsh/vendor-completions/_llmctl",
    "{home}/.config/fish/completions/llmctl.fish",
    "/usr/share/fish/vendor_completions.d/llmctl.fish",
)


@list_output
def doctor(
    ctx: typer.Context,
    network: Annotated[bool, typer.Option("--network", help="Also send a request to every connection.")] = False,
) -> None:
    """Diagnose problems and suggest fixes.

    Checks SQLite, the hub, file modes, keys, dead processes and your shell; changes nothing. Exits with 0 if there is
    no problem, with 13 if the hub has one, with 4 if a key or a connection has one.

    Examples:
      llmctl doctor
      llmctl doctor --network --json
    """
    app: App = ctx.obj
    app.close()
    results: list[CheckResult] = []
    rows = (maintenance_doctor.to_record(result) for result in _collect(_run_checks(app, network), results))
    emit_list(app.console, (row for row in rows if app.console.format.is_json or row["status"] != "ok"), _COLUMNS)
    error = maintenance_doctor.to_error([result for result in results if result.status == "problem"])
    if error is not None:
        raise error
    notes = sum(result.status == "note" for result in results)
    more = f"; {pluralize(notes, 'note')} above" if notes else ""
    app.console.note(f"no problems found in {pluralize(len(results), 'check')}{more}")


def _run_checks(app: App, network: bool) -> Iterator[CheckResult]:
    yield from maintenance_doctor.diagnose(app.hub_path, app.runtime_env(), network=network)
    yield _check_path(app)
    yield _check_completions(app)


def _collect(results: Iterator[CheckResult], collected: list[CheckResult]) -> Iterator[CheckResult]:
    """Yield results as they come, and keep them."""
    for result in results:
        collected.append(result)
        yield result


def _check_path(app: App) -> CheckResult:
    folders = app.env.get("PATH", "").split(os.pathsep)
    if any(os.access(os.path.join(folder, "llmctl"), os.X_OK) for folder in folders if folder):
        return CheckResult("path", "ok")
    return CheckResult("path", "note", "llmctl is not on PATH", "add its folder to PATH, as printed by pip or pipx")


def _check_completions(app: App) -> CheckResult:
    shell = os.path.basename(app.env.get("SHELL", ""))
    paths = [path.format(home=app.home) for path in _COMPLETION_PATHS]
    if shell not in ("bash", "zsh", "fish") or any(os.path.exists(path) for path in paths if shell in path):
        return CheckResult("completions", "ok")
    return CheckResult(
        "completions", "note", f"no completions for {shell} found", f"see: llmctl completion {shell} --help"
    )
