"""Arguments and values shared by commands that list and show records: references, limits, times, columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from llmctl.cli.app import App
from llmctl.cli.console.columns import ColumnKind, OutputColumn
from llmctl.cli.console.console import Console
from llmctl.cli.console.output import Extent, describe_empty
from llmctl.cli.console.terminal import colorize, safe_text, supports_color
from llmctl.core import time_ranges
from llmctl.core.errors import NotFoundError, UsageError
from llmctl.core.registry import unknown_name_error
from llmctl.store.database import Database
from llmctl.store.records import chats
from llmctl.store.records.types import ChatRow, ThreadRow

if TYPE_CHECKING:
    from llmctl.store.records.last_refs import LastKind

#: Default number of rows in a list.
DEFAULT_LIMIT = 50

#: How unlocking a thread ended, as printed.
UNLOCK_RESULTS = {
    "free": "was not locked",
    "recovered": "is unlocked; the turn of the dead process was finished",
    "forced": "is unlocked; a running process held it",
}


def extent(limit: int, nouns: str, count: Callable[[], int], *filters: object) -> Extent:
    """Return the extent of a list of at most ``--limit`` rows; ``filters`` are the values that restrict it."""
    is_default = limit == DEFAULT_LIMIT
    return Extent(describe_empty(nouns, *filters), parse_limit(limit), count, is_default)


def parse_limit(value: int) -> int | None:
    """Return the number of rows ``--limit`` allows; None for 0, which means all."""
    if value < 0:
        raise UsageError(f'--limit must be 0 or more, got "{value}"', hint="use --limit 0 to list all")
    return value or None


def parse_time(text: str | None) -> str | None:
    """Parse ``--since`` and similar flags to a stored time."""
    return time_ranges.parse_time(text) if text is not None else None


def get_chat(app: App, ref: str) -> ChatRow:
    """Return the chat of a REF; ``last`` is the one that ``chat -c`` continues."""
    return chats.get_or_last(app.hub(), ref, app.place) if ref == "last" else chats.get(app.hub(), ref)


def find_chat_id(app: App, ref: str | None) -> str | None:
    """Return the id of the chat an option names; None without the option."""
    return get_chat(app, ref).id if ref is not None else None


def resolve_last(app: App, kind: Literal["chat"] | LastKind, ref: str) -> str:
    """Return a REF; ``last`` becomes the id of the newest record made in the same place as this run."""
    if ref != "last":
        return ref
    if kind == "chat":
        return get_chat(app, ref).id
    from llmctl.store.records import last_refs  # only for this word

    return last_refs.get_last_id(app.hub(), kind, app.place)


def get_thread(database: Database, chat: ChatRow) -> ThreadRow:
    """Return the thread of a chat; raises NotFoundError for a chat without messages."""
    thread = chats.find_thread(database, chat.id)
    if thread is None:
        raise NotFoundError(f'chat "{display_name(chat)}" has no messages yet')
    return thread


def display_name(chat: ChatRow) -> str:
    """Return the name of a chat, or the first 8 characters of its id."""
    return chat.name or chat.id[:8]


def require_choice(value: str | None, choices: Sequence[str], kind: str) -> str | None:
    """Return the value; raises UsageError unless it is one of the choices."""
    if value is not None and value not in choices:
        raise unknown_name_error(kind, value, choices)
    return value


def add_custom_columns(database: Database, table: str, columns: Sequence[OutputColumn]) -> list[OutputColumn]:
    """Return the columns of a list plus the table's custom columns, which are not shown by default."""
    declared = {column.name for column in columns}
    column_kinds: dict[str, ColumnKind] = {"INTEGER": "number", "REAL": "number", "BOOLEAN": "bool", "JSONB": "json"}
    custom = database.fields.get(table, {})
    added = [
        OutputColumn(name, column_kinds.get(kind.upper(), "text"), is_default=False) for name, kind in custom.items()
    ]
    return [*columns, *(column for column in added if column.name not in declared)]


def sanitize(console: Console, value: Any) -> Any:
    """Neutralize terminal escapes in the texts of a record, if stdout is a terminal."""
    if not console.io.stdout_tty:
        return value
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, dict):
        return {key: sanitize(console, item) for key, item in value.items()}
    return [sanitize(console, item) for item in value] if isinstance(value, list) else value


def colorize_stdout(console: Console, text: str, color: str) -> str:
    """Colorize text if stdout supports color."""
    return colorize(text, color) if supports_color(console.env, console.io.stdout_tty) else text
