"""Keep flags and text as a prompt file: ``chat … --save NAME`` and ``prompts save``. Nothing is sent."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmctl.cli.app import App
from llmctl.cli.atomic_write import write_file
from llmctl.cli.console import console as stdin
from llmctl.cli.turn import prompt_files
from llmctl.cli.turn.input import ChatArgs, read_system_prompt
from llmctl.cli.turn.prompt_files import PromptFile
from llmctl.core.environment import find_repository, make_private_folder, prompt_folders
from llmctl.core.errors import ConfigError, LlmctlError, UsageError
from llmctl.core.options import NULL, TURN_OPTIONS, TurnOptions, options_for, parse_pairs
from llmctl.core.redaction import mask_keys
from llmctl.core.stored_values import loads
from llmctl.engine.agents.definition import Definition, TemplateParam, format_definition, parse_definition
from llmctl.engine.connections.edit import reject_secret_options
from llmctl.engine.runtime import current_folder
from llmctl.engine.tools.toolset import parse_grant
from llmctl.store.database import Database
from llmctl.store.records import chats, connections
from llmctl.store.records.types import ChatRow

#: Flags of ``chat`` that are about one run, not about a prompt.
_OF_ONE_RUN = {
    "continue_": "-c",
    "finish": "--finish",
    "chat": "--chat",
    "name": "--name",
    "interactive": "--interactive",
    "messages": "--messages",
}


def save_flags(app: App, args: ChatArgs, flags: TurnOptions, name: str, *, force: bool) -> None:
    """Keep what a command line of ``chat`` would ask as a prompt file; running it asks the same."""
    for field, flag in _OF_ONE_RUN.items():
        if getattr(args, field):
            raise UsageError(f"--save and {flag} cannot be combined", hint="a prompt file begins a conversation")
    if flags.detach or flags.dry_run:
        raise UsageError(
            f"--save and {'--detach' if flags.detach else '--dry-run'} cannot be combined: it sends nothing"
        )
    if flags.models:
        raise UsageError("--save and several -m cannot be combined", hint="a prompt file has one model")
    path = new_prompt_path(app.env, name)
    require_new(path, name, force=force)
    definition = _from_flags(app, args, flags, os.path.dirname(path))
    if definition == Definition():
        raise UsageError("nothing to save", hint=f'llmctl chat --save {shlex.quote(name)} "review this"')
    write_prompt_file(app, path, name, format_checked(definition, name))


def from_chat(app: App, database: Database, chat: ChatRow) -> Definition:
    """Return the prompt file of a chat: its model, options, tools, system prompt and first prompt."""
    if chat.type == "agent":
        raise UsageError("this chat is with an agent", hint="agents have files of their own: llmctl agent apply --help")
    settings = loads(chat.settings, {})
    connection = connections.find_by_id(database, chat.source_id)
    thread = chats.find_thread(database, chat.id)
    messages = chats.list_thread_messages(database, thread.id) if thread else []
    first = next((row.content for row in messages if row.role == "user"), None)
    turn = TurnOptions(
        model=chat.model,
        connection=connection.name if connection else None,
        options=settings.get("options") or None,
        thinking=settings.get("thinking"),
        tools=_narrow_tools(app, [":".join(item) for item in (settings.get("tools") or {}).items()]) or None,
    )
    return Definition(prompt=_escape(first), system=_escape(chat.instructions), turn=turn)


def format_checked(definition: Definition, name: str) -> str:
    """Return the text of a prompt file; raise UsageError if it would hold a secret or not read back as it was."""
    reject_secret_options(definition.turn.options)
    for what, text in (("prompt", definition.prompt), ("system prompt", definition.system)):
        _reject_secret(text, what)
    text = format_definition(definition)
    _reject_secret(text, "prompt file")
    read = parse_definition(text, definition.source)
    if read != definition:
        raise UsageError(f'prompt file "{name}" would not ask the same', hint="write it with: llmctl prompts edit")
    return text


def new_prompt_path(env: Mapping[str, str], name: str, *, in_project: bool = False) -> str:
    """Return where the prompt file of a name, or of a path, is to be written."""
    if os.sep in name:
        return os.path.abspath(name)
    stem = name.removesuffix(".toml")
    if not stem or stem.startswith((".", "-")) or not stem.isprintable():
        raise UsageError(f'invalid name of a prompt file: "{name}"', hint="it must not start with . or -")
    folder = _project_folder(env) if in_project else prompt_files.user_folder(env)
    if folder is None:
        raise ConfigError(
            "no home folder for prompt files", hint="set XDG_CONFIG_HOME, or pass a path", reason="no_home"
        )
    return f"{folder}/{stem}.toml"


def require_new(path: str, name: str, *, force: bool) -> None:
    """Raise UsageError if the file exists, before anything is read or asked."""
    if os.path.exists(path) and not force:
        raise UsageError(
            f'prompt file "{name}" already exists',
            hint=f"to replace it: --force; to change it: llmctl prompts edit {shlex.quote(name)}",
        )


def write_prompt_file(app: App, path: str, name: str, text: str) -> None:
    """Write a prompt file, print its path in a pipe, and say how to run it."""
    try:
        make_private_folder(os.path.dirname(path))
    except OSError as error:
        raise LlmctlError(f'cannot create "{os.path.dirname(path)}": {error.strerror}', reason="output") from None
    write_file(path, text)
    if app.console.quiet or not app.console.io.stdout_tty:
        app.console.io.write(f"{path}\n")
    app.console.note(f'saved "{path}"; to run it: llmctl run {shlex.quote(name)}')


def _project_folder(env: Mapping[str, str]) -> str | None:
    """Return the nearest folder of the project that exists, else the one at the root of its repository."""
    here = current_folder()
    own = prompt_files.user_folder(env)
    found = next((path for path in prompt_folders(env, here) if path != own and os.path.isdir(path)), None)
    root = find_repository(here) or here
    return found or (f"{root}/.llmctl/prompts" if root else None)


def _from_flags(app: App, args: ChatArgs, flags: TurnOptions, folder: str) -> Definition:
    file = None
    if args.template is not None:
        file = PromptFile(app, prompt_files.find_prompt_file(app.env, args.template), args.params)
    base = file.definition if file else Definition()
    turn = flags.over(file.defaults_for(flags)) if file else flags
    # With -p the text is a template of these parameters; else "{{" is text, as chat sends it.
    is_literal = file is not None or not args.params
    given = {name: TemplateParam(value) for name, value in parse_pairs(args.params, "--param").items()}
    system, words = read_system_prompt(args), _read_words(app, args, flags)
    if is_literal:
        system, words = _escape(system), _escape(words)
    return replace(
        base,
        source="",
        prompt="\n\n".join(filter(None, (base.prompt, words))) or None,
        system=base.system if system is None else system,
        params={**base.params, **given},
        turn=_keepable(app, turn, folder),
        no_log=base.no_log or args.no_log,
    )


def _read_words(app: App, args: ChatArgs, flags: TurnOptions) -> str | None:
    """Return the prompt; standard input is read only where there are no words: else it is what the file is run on."""
    reads = flags.stdin if not args.words or "-" in args.words else False
    return stdin.read_prompt(args.words, io=app.console.io, env=app.env, note=app.console.note, stdin=reads)


def _keepable(app: App, turn: TurnOptions, folder: str) -> TurnOptions:
    """Return the options that a prompt file may hold; those that it may not are named in a note."""
    names = {entry.name for entry in options_for("file")}
    if left_out := [TURN_OPTIONS[name].flags[0] for name in turn.to_dict() if name not in names]:
        app.console.note(f"not kept, pass it when you run it: {' '.join(left_out)}")
    options = {name: value for name, value in turn.options.items() if value is not None}
    return turn.only(names).replace(
        options=options or None,
        thinking=None if turn.thinking == NULL else turn.thinking,
        tools=_narrow_tools(app, turn.tools) or None,
        attach=tuple(_relative_path(name, folder) for name in turn.attach) or None,
        schema=_schema_text(turn.schema),
    )


def _narrow_tools(app: App, tools: Sequence[str]) -> tuple[str, ...]:
    """Return tools as a prompt file may name them: it may deny one, never permit one."""
    grants = dict(map(parse_grant, tools))
    if permitted := [name for name, permission in grants.items() if permission == "automatic"]:
        flags = " ".join(f"-T {shlex.quote(name)}:auto" for name in permitted)
        app.console.note(f"a prompt file permits no tool: pass {flags} when you run it")
    return tuple(f"{name}:denied" if permission == "denied" else name for name, permission in grants.items())


def _relative_path(name: str, folder: str) -> str:
    """Return an attachment as the file may name it: a URL, or a path below the file's folder."""
    if name.startswith(("https://", "http://")):
        return name
    relative = os.path.relpath(os.path.realpath(name), os.path.realpath(folder)) if name != "-" else ".."
    if relative.startswith(".."):
        raise UsageError(
            f'--attach "{name}" cannot be kept: a prompt file refers only to files in its folder',
            hint="attach it when you run the file, or save the file beside it: --save ./NAME.toml",
        )
    return relative


def _schema_text(schema: Any) -> Any:
    """Return a schema without the file that it is in."""
    if isinstance(schema, str) and os.path.isfile(schema):
        from llmctl.core.text_files import read_text_file

        return read_text_file(schema).strip()
    return schema


def _escape(text: str | None) -> str | None:
    """Return a text as the template that renders to it."""
    import re

    return text and re.sub(r"\{[{%#]", lambda mark: f"{{{{ '{mark[0]}' }}}}", text)


def _reject_secret(text: str | None, what: str) -> None:
    if text and mask_keys(text) != text:
        raise UsageError(f"the {what} seems to contain a key", hint="a prompt file holds no secret: pass it with -p")
