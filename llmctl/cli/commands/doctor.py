"""``llmctl doctor``: what is wrong and how to mend it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import Column, emit_list, listing
from llmctl.engine.maintenance import doctor as maintenance_doctor
from llmctl.engine.maintenance.doctor import Symptom

_COLUMNS = [Column("name"), Column("status", "status"), Column("message"), Column("hint"), Column("kind", shown=False)]
#: Where shells look for completions by themselves, below the home folder or from the root.
_COMPLETIONS = (
    "{home}/.local/share/bash-completion/completions/llmctl",
    "/usr/share/bash-completion/completions/llmctl",
    "/usr/share/zsh/site-functions/_llmctl",
    "/usr/share/zsh/vendor-completions/_llmctl",
    "{home}/.config/fish/completions/llmctl.fish",
    "/usr/share/fish/vendor_completions.d/llmctl.fish",
)


@listing
def doctor(
    ctx: typer.Context,
    network: Annotated[bool, typer.Option("--network", help="Ask every connection for its models, too.")] = False,
) -> None:
    """Find out what is wrong and how to mend it.

    Looks at SQLite, the hub, file modes, keys, dead processes and your shell, and changes nothing. Leaves with 0
    when all is well, with 13 where the hub has a problem, with 4 where a key or a connection has one.

    Examples:
      llmctl doctor
      llmctl doctor --network --json
    """
    app: App = ctx.obj
    app.close()
    found: list[Symptom] = []
    rows = (maintenance_doctor.as_record(symptom) for symptom in _kept(_symptoms(app, network), found))
    emit_list(app, (row for row in rows if app.format.is_json or row["status"] != "ok"), _COLUMNS)
    problems = [symptom for symptom in found if symptom.status == "problem"]
    error = maintenance_doctor.failure(problems)
    if error is not None:
        raise error
    app.note(f"all is well: {len(found)} things were looked at")


def _symptoms(app: App, network: bool) -> Iterator[Symptom]:
    yield from maintenance_doctor.examine(app.hub_path, app.surroundings(), network=network)
    yield _on_path(app)
    yield _completions(app)


def _kept(symptoms: Iterator[Symptom], found: list[Symptom]) -> Iterator[Symptom]:
    for symptom in symptoms:
        found.append(symptom)
        yield symptom


def _on_path(app: App) -> Symptom:
    folders = app.env.get("PATH", "").split(os.pathsep)
    if any(os.access(os.path.join(folder, "llmctl"), os.X_OK) for folder in folders if folder):
        return Symptom("path", "ok")
    return Symptom("path", "note", "llmctl is in no folder of PATH", "add the folder that pip or pipx named to PATH")


def _completions(app: App) -> Symptom:
    shell = os.path.basename(app.env.get("SHELL", ""))
    places = [place.format(home=app.home) for place in _COMPLETIONS]
    if shell not in ("bash", "zsh", "fish") or any(os.path.exists(place) for place in places if shell in place):
        return Symptom("completions", "ok")
    return Symptom("completions", "note", f"no completions for {shell} found", f"see: llmctl completion {shell} --help")
