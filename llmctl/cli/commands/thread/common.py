"""What the commands of threads share."""

from __future__ import annotations

from typing import Annotated

import typer

ThreadArgument = Annotated[str, typer.Argument(metavar="REF", help="Thread: id, or id prefix.")]
