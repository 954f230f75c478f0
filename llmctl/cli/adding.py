"""A message that nobody asked a model for, put at the end of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llmctl.cli import looking
from llmctl.cli.app import App
from llmctl.cli.stdin import read_prompt
from llmctl.cli.values import pairs
from llmctl.core.errors import UsageError
from llmctl.engine.jobs import unlock
from llmctl.store.database import Row
from llmctl.store.records import append_message, messages, threads

ROLES = ("system", "user", "assistant")


class Wish(NamedTuple):
    """The flags."""

    chat: str
    role: str
    model: str | None
    references: Sequence[str]


def message(app: App, words: Sequence[str], wish: Wish) -> Row:
    """Add the message; return its record."""
    if wish.model is not None and wish.role != "assistant":
        raise UsageError('"--model" is for an answer', hint="add: --role assistant")
    content = read_prompt(words, io=app.io, env=app.env, note=app.note)
    if content is None:
        raise UsageError("a message says something", hint="give its text, or pipe it in")
    references = {key: str(value) for key, value in pairs(wish.references, "--reference").items()}
    database = app.hub("write")
    chat = looking.chat(database, wish.chat)
    with database.transaction(durable=True):
        thread = threads.of_chat(database, chat["id"])
        if thread is not None:
            unlock.free(database, thread["id"])
        columns = {"role": wish.role, "content": content, "model_id": wish.model}
        id = append_message.append(database, chat, thread, columns, references)
    return messages.one(database, id)
