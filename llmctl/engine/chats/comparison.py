"""One question to several models: the chats with their answers are branches of one conversation until one goes on."""

from __future__ import annotations

from collections.abc import Sequence

from llmctl.core import clock
from llmctl.core.errors import NotFoundError
from llmctl.core.stored_values import dumps, loads
from llmctl.engine.chats.fork import fork_chat
from llmctl.engine.connections.target import Target
from llmctl.engine.runtime import CallerInfo
from llmctl.store.database import Database, Update
from llmctl.store.records import chats
from llmctl.store.records.types import ChatRow

#: Reference of a chat to the first of the branches that it is one of.
BRANCH_KEY = "compared_with"
_MIN_ID_PREFIX = 4


def fork_for_model(database: Database, chat: ChatRow, target: Target, caller: CallerInfo) -> ChatRow:
    """Return a fork of a chat that another model answers and goes on with."""
    with database.transaction(durable=True):
        fork = fork_chat(database, chat, caller=caller)
        changes = {
            "source_id": target.connection_id,
            "model": target.model,
            "provider": target.provider.nodellm_id,
            "settings": dumps({**loads(fork.settings, {}), "provider": target.provider.name}),
        }
        database.commit(Update("chats", fork.id, changes))
    return chats.get(database, fork.id)


def link_branches(database: Database, ids: Sequence[str], answered: Sequence[str]) -> None:
    """Make chats the branches of one conversation: lists show the first one that has an answer.

    One of those with an answer may go on; with a single one that is decided.
    """
    if not answered:
        return
    with database.transaction(durable=True):
        if len(answered) > 1:
            for id in answered:
                refs = {**loads(chats.get(database, id).refs, {}), BRANCH_KEY: answered[0]}
                database.commit(Update("chats", id, {"refs": dumps(refs)}))
        _put_first(database, chats.get(database, answered[0]), [id for id in ids if id != answered[0]])


def list_branches(database: Database, chat: ChatRow) -> list[ChatRow]:
    """Return the chats of which one has to be chosen, in the order of their models; none if there is no choice."""
    first = loads(chat.refs, {}).get(BRANCH_KEY)
    branches = chats.list_with_ref(database, BRANCH_KEY, first) if first else []
    return sorted(branches, key=lambda branch: branch.id != first) if len(branches) > 1 else []


def find_branch(database: Database, branches: Sequence[ChatRow], ref: str) -> ChatRow:
    """Return the branch that a user means by its number, model, connection or id; raise NotFoundError."""
    if ref.isdecimal() and 0 < int(ref) <= len(branches):
        return branches[int(ref) - 1]
    names = [describe_branch(database, chat) for chat in branches]
    found = [chat for chat, words in zip(branches, names, strict=True) if ref in words]
    found = found or [chat for chat in branches if len(ref) >= _MIN_ID_PREFIX and chat.id.startswith(ref)]
    if len(found) != 1:
        listed = ", ".join(f"{number} {words[0]}" for number, words in enumerate(names, 1))
        raise NotFoundError(f'no single answer of "{ref}"', hint=f"choose one of: {listed}")
    return found[0]


def describe_branch(database: Database, chat: ChatRow) -> tuple[str, ...]:
    """Return the model that answered a branch last, and its connection if it has one."""
    return chats.get_last_model(database, chat.id) or (chat.model or chat.id[:8],)


def format_branch(database: Database, chat: ChatRow) -> str:
    """Return such as ``gpt-5 of work``."""
    return " of ".join(dict.fromkeys(describe_branch(database, chat)))


def keep_branch(database: Database, kept: ChatRow, branches: Sequence[ChatRow]) -> ChatRow:
    """Let one branch go on: it gets the name, and the others leave the lists. Return its row."""
    with database.transaction(durable=True):
        for chat in branches:
            refs = {name: value for name, value in loads(chat.refs, {}).items() if name != BRANCH_KEY}
            database.commit(Update("chats", chat.id, {"refs": dumps(refs)}))
        _put_first(database, kept, [chat.id for chat in branches if chat.id != kept.id])
        changes = {"superseded_by": None, "last_turn_at": clock.now(), "updated_at": clock.now()}
        database.commit(Update("chats", kept.id, changes))
    return chats.get(database, kept.id)


def _put_first(database: Database, kept: ChatRow, others: Sequence[str]) -> None:
    """Let other chats stand behind one, which takes the name that one of them has."""
    named = next((chat for id in others if (chat := chats.get(database, id)).name), None)
    for id in others:
        name = {"name": None} if named and id == named.id and kept.name is None else {}
        database.commit(Update("chats", id, {**name, "superseded_by": kept.id}))
    if named and kept.name is None:
        database.commit(Update("chats", kept.id, {"name": named.name}))
