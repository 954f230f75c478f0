"""``llmctl tool invoke``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from llmctl.cli.app import App
from llmctl.cli.commands.tool import ToolArgument, read_json
from llmctl.cli.console.console import answer_output
from llmctl.cli.console.output import emit_json
from llmctl.cli.console.terminal import safe_text
from llmctl.core.errors import UsageError
from llmctl.core.options import check_seconds, parse_pairs
from llmctl.core.stored_values import dumps
from llmctl.store.records import invocations


@answer_output
def invoke(
    ctx: typer.Context,
    ref: ToolArgument,
    args: Annotated[str | None, typer.Option(metavar="JSON|@FILE|-", help="Arguments, as a JSON object.")] = None,
    arg: Annotated[list[str] | None, typer.Option(metavar="K=V|K:=JSON", help="One argument. Repeatable.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Time limit.")] = None,
) -> None:
    """Run a tool the way a model does.

    The result goes to stdout. Exit codes: 11 if the arguments do not match the schema, 10 if a rule denies the call, 6
    if it timed out or could not be reached, 5 if it failed. --json prints the invocation in any case.

    Examples:
      llmctl tool invoke time --arg zone=Europe/Rome
      echo '{"path": "."}' | llmctl tool invoke list_files --args -
    """
    from llmctl.engine.jobs.lease import tracked_job
    from llmctl.engine.tools.execute import invoke_tool
    from llmctl.engine.tools.toolset import get_tool

    app: App = ctx.obj
    timeout = check_seconds(timeout, "--timeout")
    arguments = _parse_arguments(app, args, arg or ())
    database = app.hub("create")
    tool = get_tool(database, ref)
    with tracked_job(database, tool.name, "invocation") as job_id:
        row, error = invoke_tool(database, job_id, tool, dumps(arguments), app.runtime_env(), timeout_s=timeout)
    if app.console.format.is_json:
        emit_json(app.console, invocations.get_record(database, row.id))
    elif error is None:
        text = str(row.result or "")
        app.console.io.write((safe_text(text) if app.console.io.stdout_tty else text) + ("\n" if text else ""))
    if error is not None:
        raise error


def _parse_arguments(app: App, args: str | None, pairs: Sequence[str]) -> Any:
    """Return the arguments: of ``--args``, with those of ``--arg`` added."""
    if args is None:
        return parse_pairs(pairs, "--arg")
    if args == "-":
        from llmctl.cli.console.console import read_text

        args = read_text(app.console.io, app.console.note)
    arguments = read_json(args, "--args")
    if pairs and not isinstance(arguments, dict):
        raise UsageError("--args must be a JSON object if --arg is given")
    return {**arguments, **parse_pairs(pairs, "--arg")} if pairs else arguments
