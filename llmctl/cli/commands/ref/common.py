"""What the commands of references share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from llmctl.cli.app import App
from llmctl.cli.console.output import emit_change
from llmctl.store.records import record_links

RecordArgument = Annotated[str, typer.Argument(metavar="RECORD", help="Id, name, or KIND:REF such as chat:fix-42.")]


def emit_references(app: App, table: str, record_id: str, references: Mapping[str, str]) -> None:
    """Report the references that a record has now."""
    kind = record_links.KINDS[table]
    document = {"id": record_id, "kind": kind, "references": references}
    emit_change(app, document, f"references of {kind} {record_id[:8]}: {', '.join(references) or 'none'}")
