"""``llmctl tool edit``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from llmctl.cli import listing_args
from llmctl.cli.app import App
from llmctl.cli.commands.tool import ToolArgument, read_json_object
from llmctl.cli.commands.tool.spec import ToolFlags, parse_tool_spec
from llmctl.cli.console.console import record_output
from llmctl.cli.console.output import emit_change
from llmctl.core.options import parse_pairs
from llmctl.store.database import Database
from llmctl.store.records import tools


@record_output
def edit(
    ctx: typer.Context,
    flags: ToolFlags,
    ref: ToolArgument,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="New name.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="K=GLOB|SCHEMA|*", help="Add a rule that allows such calls.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option(metavar="K=GLOB|SCHEMA|*", help="Add a rule that denies such calls.")
    ] = None,
    chat: Annotated[str | None, typer.Option(metavar="REF", help="Limit the new rules to this chat.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Delete the existing rules.")] = False,
) -> None:
    """Edit a tool or its permission rules.

    Omitted options stay unchanged; --data '{"timeout": null}' removes a key. A change revokes approvals given
    before it. Rules that are not limited to a chat apply to people, too: a denied tool cannot be invoked.

    Examples:
      llmctl tool edit weather --timeout 5
      llmctl tool edit read_file --allow 'path=docs/*'
      llmctl tool edit run_command --deny '*'
    """
    from llmctl.engine.connections import trust
    from llmctl.engine.tools.define import changed_tool_columns
    from llmctl.engine.tools.toolset import get_tool

    app: App = ctx.obj
    database = app.hub("create")
    stored = tools.get(database, str(get_tool(database, ref).id))  # a built-in tool is stored first
    changes = changed_tool_columns(parse_tool_spec(flags, name), stored)
    if changes:
        is_trusted = trust.is_tool_trusted(database, tools.to_tool(stored), app.env)
        changed = tools.to_tool(tools.update(database, stored.id, changes))
        if is_trusted:  # one that came with a file is not known better for one value of it
            trust.add_made_tool(database, changed, app.env)
    if forget:
        tools.delete_rules(database, stored.id)
    chat_id = listing_args.find_chat_id(app, chat)
    _add_rules(database, stored.id, "allow", allow or (), chat_id)
    _add_rules(database, stored.id, "deny", deny or (), chat_id)
    record = tools.get_record(database, stored.id)
    emit_change(app.console, record, f'updated tool "{record["name"]}"')


def _add_rules(database: Database, tool_id: str, effect: str, texts: Iterable[str], chat_id: str | None) -> None:
    for text in texts:
        rule = _parse_rule(text, f"--{effect}")
        tools.add_rule(database, tool_id, effect, arguments=rule, chat_id=chat_id)


def _parse_rule(text: str, flag: str) -> dict[str, Any]:
    """Return the rule of ``K=GLOB`` on an argument, of a JSON Schema, or of ``*`` for any call."""
    from llmctl.engine.tools import authorize

    if text == "*":
        return {}
    if text.startswith("{"):
        schema = read_json_object(text, flag)
        authorize.rule_matches({"schema": schema}, {}, "allow")  # raises for an invalid schema
        return {"schema": schema}
    return {"glob": {name: str(value) for name, value in parse_pairs([text], flag).items()}}
