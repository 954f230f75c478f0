"""``llmctl import``: conversations and whole hubs in."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.console.console import answer_output
from llmctl.cli.console.output import emit_json
from llmctl.cli.console.progress import Progress
from llmctl.core.errors import ConfigError, LlmctlError, NotFoundError, PartialError, UsageError
from llmctl.core.humanize import pluralize

if TYPE_CHECKING:
    from llmctl.engine.transfer.import_ import ImportReport, ImportSource
    from llmctl.store.database import Database

#: Problems that are noted on stderr; ``--json`` has more.
_MAX_NOTED_PROBLEMS = 20
#: What one broken or vanished file of many may raise.
_FILE_ERRORS = (LlmctlError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


@answer_output
def import_(
    ctx: typer.Context,
    file: Annotated[str | None, typer.Argument(metavar="FILE|-", help="File to import; - is standard input.")] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="jsonl, hub, llm, node-llm, chatgpt, claude, openai, sharegpt, claude-code, codex or gemini-cli; "
            "detected by default.",
        ),
    ] = None,
    all_agents: Annotated[
        bool, typer.Option("--all-agents", help="Import the transcripts of this machine's coding agents.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would be imported.")] = False,
) -> None:
    """Import conversations from another hub, llm, ChatGPT, Claude, @node-llm/orm or OpenAI.

    Reads the output of llmctl export, another hub (a SQLite file), llm's logs.db, the export of ChatGPT and of Claude
    (conversations.json, or the .zip around it, with the pictures in it), a SQLite database of @node-llm/orm, JSON
    Lines of {"messages": [...]}, ShareGPT, and the transcripts of Claude Code, Codex and Gemini CLI, which --all-agents
    finds, with their tokens and cost; what llmctl proxy recorded already is left out. What was imported before is not
    duplicated, but updated if the file has something newer. Text that ChatGPT hides is kept in the thread, but neither
    shown nor sent; custom instructions become the system prompt. What cannot be read costs itself only, and is counted:
    exit 14, or 3 if nothing could be imported. A file of no known format is refused as a whole; a truncated export is
    reported (exit 12).

    A file gives no permissions: its connections are not used before you trust them (connection trust), and its tools
    ask before they run.

    Examples:
      llmctl import hub.jsonl --dry-run
      llmctl import "$(llm logs path)"
      llmctl import chatgpt-export.zip
      llmctl import --all-agents
    """
    app: App = ctx.obj
    if all_agents == (file is not None):
        raise UsageError("pass either a file or --all-agents", hint="llmctl import --help")
    if file is None:
        _import_agents(app, dry_run)
    else:
        _import_file(app, file, format, dry_run)


def _import_file(app: App, file: str, format: str | None, dry_run: bool) -> None:
    from llmctl.engine.transfer import import_ as transfer_import

    source = _open_source(app, file, format)
    database = _open_hub(app, dry_run)
    with Progress(app.console, "importing") as progress:

        def show_progress(messages: int, done: int, total: int) -> None:
            share = f", {done * 100 // total} %" if total else ""
            progress.update(f"{messages:,} messages{share}")

        report = transfer_import.import_source(database, source, env=app.env, dry_run=dry_run, progress=show_progress)
    _write_report(app, report, file)
    if report.truncation:
        raise report.truncation
    _require_success(report, file)


def _import_agents(app: App, dry_run: bool) -> None:
    """Import the transcripts of the agents on this machine; one that cannot be read costs only itself."""
    from llmctl.engine.transfer import import_ as transfer_import
    from llmctl.engine.transfer.transcripts import AGENTS, find_transcripts

    found = find_transcripts(app.env)
    if not found:
        names = ", ".join(agent.format for agent in AGENTS)
        raise NotFoundError(f"no transcripts of {names} on this machine", reason="no_transcripts")
    database = _open_hub(app, dry_run)
    total = transfer_import.ImportReport("agents", dry_run)
    recorded = transfer_import.RecordedAnswers(database)
    with Progress(app.console, "importing") as progress:
        for number, path in enumerate(found, 1):
            progress.update(f"file {number:,} of {len(found):,}")
            try:
                source = transfer_import.from_file(path)
                report = transfer_import.import_source(
                    database, source, env=app.env, dry_run=dry_run, recorded=recorded
                )
            except _FILE_ERRORS as error:
                if os.path.exists(path):  # else deleted since it was found
                    why = error.message if isinstance(error, LlmctlError) else f"{type(error).__name__}: {error}"
                    total.add_problem(f"{path}: {why}")
            else:
                total.add_report(report, path)
    name = pluralize(len(found), "transcript")
    _write_report(app, total, name)
    if total.failure_count:
        _require_success(total, name)


def _open_source(app: App, file: str, format: str | None) -> ImportSource:
    from llmctl.engine.transfer import import_ as transfer_import_

    if file == "-":
        return transfer_import_.from_stream(app.console.io.stdin.buffer, format)
    if os.path.isdir(file):
        raise NotFoundError(f'cannot read "{file}": it is a folder', hint="pass a file in it")
    return transfer_import_.from_file(file, format)


def _open_hub(app: App, dry_run: bool) -> Database:
    """Return the hub, created if it is missing; a dry run gets one in memory instead."""
    if not dry_run:
        return app.hub("create")
    try:
        return app.hub("write")
    except ConfigError as error:
        if error.reason != "no_hub":
            raise
        from llmctl.store.opening import MEMORY, open_hub

        return open_hub(MEMORY, "create")


def _require_success(report: ImportReport, file: str) -> None:
    """Raise the error of an import that took nothing, or not everything."""
    if report.took_nothing:
        raise NotFoundError(f'nothing in "{file}" could be imported', hint="the lines above say why")
    if report.failure_count:
        count = pluralize(report.failure_count, "problem")
        raise PartialError(f'"{file}" was imported with {count}', hint="they are listed above, and by --json")


def _write_report(app: App, report: ImportReport, file: str) -> None:
    document = report.to_record()
    if app.console.format.is_json:
        emit_json(app.console, document)
    for problem in document["problems"][:_MAX_NOTED_PROBLEMS]:
        line = f"line {problem['line']}: " if problem["line"] else ""
        app.console.note(f"{line}{problem['why']}")
    if report.problem_count > _MAX_NOTED_PROBLEMS:
        app.console.note(
            f"and {report.problem_count - _MAX_NOTED_PROBLEMS:,} more problems; --json lists the first of them"
        )
    for line in report.list_left_out():
        app.console.note(line)
    _note_narrowed(app, report)
    verb = "would import" if report.dry_run else "imported"
    app.console.note(f'{verb} from "{file}" ({report.format}): {_summarize(document)}')


#: Kinds of permissions that a file cannot give, as the note names one and several of them.
_NARROWED = {
    "rules": ("rule that allows calls", "rules that allow calls"),
    "agent_grants": ("automatic tool of an agent, which asks now", "automatic tools of agents, which ask now"),
    "chat_grants": ("automatic tool of a chat, which asks now", "automatic tools of chats, which ask now"),
    "approvals": ("approved call, which waits again", "approved calls, which wait again"),
    "agent_files": ("file of an agent, which it does not follow", "files of agents, which they do not follow"),
    "prices": ("price, at which no limit counts", "prices, at which no limit counts"),
    "hosted_tools": ("set of hosted tools in options", "sets of hosted tools in options"),
}


def _note_narrowed(app: App, report: ImportReport) -> None:
    """Note what the file cannot decide here, and the commands that decide it."""
    if report.narrowed:
        kinds = [f"{number} {_NARROWED[kind][number > 1]}" for kind, number in report.narrowed.items()]
        hints = "; ".join(report.narrowed_hints.values())
        app.console.note(
            f"permissions do not come with a file: {', '.join(kinds)}" + f"; to give them: {hints}" * bool(hints)
        )
    if report.untrusted:
        names = " ".join(map(shlex.quote, report.untrusted))
        app.console.note(f"not used before you trust it: llmctl connection trust {names}")


def _summarize(document: Mapping[str, Any]) -> str:
    parts = [pluralize(document["conversations"], "conversation"), pluralize(document["messages"], "message")]
    for result in ("updated", "unchanged", "skipped"):
        if count := sum(document[result].values()):
            parts.append(f"{pluralize(count, 'row')} {result}")
    return ", ".join(parts)
