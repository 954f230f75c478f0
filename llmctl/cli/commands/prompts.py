"""Commands on prompt files: list, show, edit and save them."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.columns import OutputColumn
from llmctl.cli.console.console import list_output
from llmctl.cli.console.output import emit_list
from llmctl.core import environment
from llmctl.core.errors import DeniedError, LlmctlError, UsageError
from llmctl.core.text_files import read_text_file
from llmctl.engine.runtime import current_folder

COLUMNS = [
    OutputColumn("name"),
    OutputColumn("where"),
    OutputColumn("model"),
    OutputColumn("about"),
    OutputColumn("path", is_default=False),
]
_NEW_FILE = '''\
description = ""
# model = "echo"
# system = ""

# Parameters are {{ names }}; {{ stdin }} is what is piped in. More: llmctl help prompt-files
prompt = """
"""
'''

PromptNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Prompt file, by name or path.")]
ProjectOption = Annotated[
    bool, typer.Option("--project", help="In the project's .llmctl/prompts, not in your own folder.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file of that name.")]


@list_output
def list_(ctx: typer.Context) -> None:
    """List prompt files that run and -t find by name.

    Those of the project (.llmctl/prompts in this folder and those above it, up to the root of the repository) come
    before your own ($XDG_CONFIG_HOME/llmctl/prompts).

    Examples:
      llmctl prompts list
    """
    app: App = ctx.obj
    stored = environment.list_prompt_files(app.env, current_folder())
    rows = [{"name": name, "where": _where(app, path), **_describe(path)} for name, path in stored.items()]
    emit_list(app.console, rows, COLUMNS)
    if not rows:
        app.console.note("no prompt files; to make one: llmctl prompts edit review")


def show(ctx: typer.Context, name: PromptNameArgument) -> None:
    """Print a prompt file.

    Examples:
      llmctl prompts show review
    """
    from llmctl.cli.console.terminal import safe_text
    from llmctl.cli.turn.prompt_files import find_prompt_file

    app: App = ctx.obj
    text = read_text_file(find_prompt_file(app.env, name))
    app.console.io.write(safe_text(text) if app.console.io.stdout_tty else text)


def edit(ctx: typer.Context, name: PromptNameArgument, project: ProjectOption = False) -> None:
    """Edit a prompt file in $VISUAL or $EDITOR, or begin a new one.

    It is checked before it is saved; one that is wrong can be edited again. A new file without a prompt is not saved.

    Examples:
      llmctl prompts edit review
    """
    from llmctl.cli.turn import saved_prompts

    app: App = ctx.obj
    if name.endswith(".toml") and os.path.isfile(name):
        path = name
    else:
        stored = environment.list_prompt_files(app.env, current_folder())
        found = stored.get(name.removesuffix(".toml"))
        is_wanted = found is not None and not (project and _where(app, found) == "user")
        path = found if found and is_wanted else saved_prompts.new_prompt_path(app.env, name, in_project=project)
    old = read_text_file(path) if os.path.exists(path) else None
    text = _edit_until_valid(app, path, _NEW_FILE if old is None else old)
    if text == (_NEW_FILE if old is None else old):
        app.console.note(f'"{name}" is unchanged' if old is not None else "nothing written, nothing saved")
        return
    saved_prompts.write_prompt_file(app, path, name, text)


def save(
    ctx: typer.Context,
    name: PromptNameArgument,
    file: Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="Prompt file to keep; - is stdin.")] = None,
    chat: Annotated[
        str | None, typer.Option(metavar="REF", help="Keep the model, options and first prompt of this chat.")
    ] = None,
    project: ProjectOption = False,
    force: ForceOption = False,
) -> None:
    """Save a prompt file under a name: a file, standard input, or what a chat began with.

    Without FILE it is standard input if that is not a terminal, else the last chat. To keep flags and text of a command
    line, add --save NAME to chat. A chat's tools are kept without their permission, which no file can give.

    Examples:
      llmctl prompts save review review.toml
      llmctl prompts save greet --chat last
    """
    from llmctl.cli.turn import saved_prompts

    app: App = ctx.obj
    if file and chat:
        raise UsageError("FILE and --chat cannot be combined", hint="pass one of them")
    path = saved_prompts.new_prompt_path(app.env, name, in_project=project)
    saved_prompts.require_new(path, name, force=force)
    if chat is not None or (file is None and app.console.io.stdin_tty):
        from llmctl.cli.listing_args import get_chat

        found = get_chat(app, chat or "last")
        text = saved_prompts.format_checked(saved_prompts.from_chat(app, app.hub(), found), name)
    else:
        text = _read_source(app, file or "-")
        _check(text, file or "standard input")
    saved_prompts.write_prompt_file(app, path, name, text)


def path(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Prompt file; without it, the folder.")] = None,
    project: ProjectOption = False,
) -> None:
    """Print the path of a prompt file, or of the folder of your own.

    Examples:
      llmctl prompts path review
      cp review.toml "$(llmctl prompts path)"
    """
    from llmctl.cli.turn import prompt_files, saved_prompts

    app: App = ctx.obj
    if name is not None:
        found = os.path.abspath(prompt_files.find_prompt_file(app.env, name))
    else:
        found = os.path.dirname(saved_prompts.new_prompt_path(app.env, "any", in_project=project))
    app.console.io.write(f"{found}\n")


def _where(app: App, path: str) -> str:
    """Return whether a prompt file is the user's own, or the project's."""
    config = environment.config_folder(app.env)
    return "user" if os.path.dirname(path) == f"{config}/prompts" else "project"


def _describe(path: str) -> dict[str, Any]:
    """Return what a list says of a prompt file; of one that cannot be read, what is wrong with it."""
    from llmctl.engine.agents import definition

    try:
        found = definition.parse_definition(read_text_file(path), os.path.basename(path))
    except LlmctlError as error:
        return {"path": path, "model": None, "about": f"cannot be used: {error.message}"}
    lines = (found.description or found.prompt or found.system or "").strip().splitlines()
    return {"path": path, "model": found.turn.model or found.turn.connection, "about": lines[0] if lines else None}


def _edit_until_valid(app: App, path: str, text: str) -> str:
    """Return the text as it was edited; what is wrong with it is shown and may be mended at once."""
    from llmctl.cli.console.prompts import ask, edit_text

    while True:
        text = edit_text(app.console, text, ".toml")
        try:
            _check(text, os.path.basename(path))
            return text
        except UsageError as error:
            app.console.note(error.message)
            answer = ask(app.console, "Edit it again? [Y/n] ")
            if answer is None:
                raise
            if answer.strip().lower() not in ("", "y", "yes"):
                raise DeniedError("cancelled: nothing was saved") from None


def _check(text: str, source: str) -> None:
    """Raise UsageError if a text is not a prompt file that could be run."""
    from llmctl.core.redaction import mask_keys
    from llmctl.engine.agents import definition
    from llmctl.formats import templates

    found = definition.parse_definition(text, source)
    for template in filter(None, (found.system, found.prompt)):
        templates.list_variables(template, source)
    if mask_keys(text) != text:
        raise UsageError(f'"{source}" seems to contain a key', hint="pass secrets with -p when you run it")


def _read_source(app: App, file: str) -> str:
    if file != "-":
        return read_text_file(file)
    from llmctl.cli.console.console import read_text

    return read_text(app.console.io, app.console.note)
