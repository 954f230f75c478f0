"""Going back before the last message of the user. History is never modified: the chat goes on in a fork."""

from __future__ import annotations

from llmctl.core import clock
from llmctl.core.errors import UsageError
from llmctl.engine.chats import fork as chats_fork
from llmctl.engine.turn.options import Origin
from llmctl.store.database import Database, Row
from llmctl.store.writes import Update


def rewind(database: Database, chat: Row, origin: Origin) -> tuple[Row, str]:
    """Fork a chat before its last user message; return the fork and what the message said.

    A name moves to the fork, so that ``--name N`` goes on where its user is; the old chat becomes ``N~1``, ``N~2``.
    """
    last = database.one(
        "SELECT seq, content FROM {messages} WHERE chat_id = ? AND role = 'user' ORDER BY seq DESC LIMIT 1",
        (chat["id"],),
    )
    if last is None:
        raise UsageError("there is nothing to go back over")
    with database.transaction():
        if chat["name"]:
            older = {"name": _older_name(database, chat["name"]), "updated_at": clock.now()}
            database.commit(Update("chats", chat["id"], older))
        fork = chats_fork.fork(database, chat, upto_seq=last["seq"] - 1, name=chat["name"], origin=origin)
    return fork, str(last["content"] or "")


def _older_name(database: Database, name: str) -> str:
    number = 1
    while database.value("SELECT 1 FROM {chats} WHERE name = ?", (f"{name}~{number}",)):
        number += 1
    return f"{name}~{number}"
