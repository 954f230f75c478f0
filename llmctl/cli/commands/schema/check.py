"""``llmctl schema check``."""

from __future__ import annotations

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import OutputColumn, emit_list, list_output
from llmctl.core.errors import StorageError
from llmctl.store.schema import ddl, diff, introspect

_COLUMNS = [
    OutputColumn("kind"),
    OutputColumn("table"),
    OutputColumn("what"),
    OutputColumn("name"),
    OutputColumn("detail"),
]


@list_output
def check(ctx: typer.Context) -> None:
    """Compare a hub with the schema.

    Prints what is missing, extra or changed and exits with 13; prints nothing if there is no difference. Your own
    fields, tables and views are not differences.

    Examples:
      llmctl schema check && echo "up to date"
      llmctl schema check --json
    """
    app: App = ctx.obj
    database = app.hub()
    hub = introspect.describe_hub(database, comments=False)
    schema = introspect.describe_schema(database.names)
    differences = diff.compare(hub, schema, database.names, database.fields)
    emit_list(app, [difference._asdict() for difference in differences], _COLUMNS)
    if differences:
        number = len(differences)
        is_old = database.value("PRAGMA user_version") < ddl.VERSION
        raise StorageError(
            f'the hub "{database.path}" differs from the schema in {number} place{"" if number == 1 else "s"}',
            hint="llmctl db migrate" if is_old else "to see the schema: llmctl --db :memory: schema show",
            reason="drift",
        )
