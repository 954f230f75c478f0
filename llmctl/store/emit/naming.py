"""What tables, columns and relations are called outside SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from llmctl.store.schema.introspect import ForeignKey, Table

#: ``hub``: names of our own. ``nodellm``: those of ``@node-llm/orm`` for the tables it knows.
Dress = Literal["hub", "nodellm"]

_HUB = {
    "user_settings": "UserSettings",
    "metrics": "Metric",
    "text_logs": "TextLog",
    "network_calls": "NetworkCall",
    "jobs": "Job",
    "model_connections": "ModelConnection",
    "chats": "Chat",
    "message_threads": "MessageThread",
    "messages": "Message",
    "rendered_conversation_threads": "RenderedConversationThread",
    "response_streams": "ResponseStream",
    "stream_chunks": "StreamChunk",
    "requests": "Request",
    "tools": "Tool",
    "tool_invocations": "ToolInvocation",
    "agents": "Agent",
    "agent_tool_connections": "AgentToolConnection",
    "agent_sessions": "AgentSession",
    "attachments": "Attachment",
    "message_attachments": "MessageAttachment",
    "permission_rules": "PermissionRule",
    "model_prices": "ModelPrice",
    "model_aliases": "ModelAlias",
    "usage_hourly": "UsageHourly",
    "usage_daily": "UsageDaily",
    "usage_monthly": "UsageMonthly",
    "activity_daily": "ActivityDaily",
    "hub_meta": "HubMeta",
    "schema_migrations": "SchemaMigration",
}
_NODELLM = {
    "chats": "LlmChat",
    "messages": "LlmMessage",
    "tool_invocations": "LlmToolCall",
    "requests": "LlmRequest",
    "agent_sessions": "LlmAgentSession",
}
#: Fields of the records' own design that cannot be a column's name.
_FIELDS = {"refs": "references"}

#: Names that Prisma, its client, TypeScript or TypeORM keep for themselves.
_RESERVED = frozenset(
    (
        *(
            "Prisma",
            "PrismaClient",
            "BigInt",
            "Boolean",
            "Bytes",
            "DateTime",
            "Decimal",
            "Float",
            "Int",
            "Json",
            "String",
        ),
        *("Array", "Buffer", "Date", "Function", "Number", "Object", "Promise", "Record", "Symbol", "Tables"),
        *("Check", "Column", "Entity", "Index", "JoinColumn", "ManyToOne", "OneToMany", "OneToOne"),
        *("PrimaryColumn", "PrimaryGeneratedColumn", "Relation"),
    )
)

_WORD = re.compile(r"[A-Za-z0-9]+")


def models(tables: Iterable[Table], names: Mapping[str, str], dress: Dress) -> dict[str, str]:
    """Return the model of each physical table; those of others get a name made from theirs."""
    logical = {physical: table for table, physical in names.items()}
    known = {**_HUB, **(_NODELLM if dress == "nodellm" else {})}
    taken = set(known.values()) | _RESERVED
    found: dict[str, str] = {}
    for table in tables:
        model = known.get(_logical(table.name, logical, names))
        found[table.name] = model or free(pascal(table.name), taken)
        taken.add(found[table.name])
    return found


def fields(table: Table, relations: Iterable[str] = ()) -> dict[str, str]:
    """Return the field of each column, none of them the name of a relation."""
    taken = set(relations)
    found: dict[str, str] = {}
    for column in table.columns:
        name = free(_FIELDS.get(column.name) or camel(column.name), taken)
        taken.add(name)
        found[column.name] = name
    return found


def forward(key: ForeignKey) -> str:
    """Return the field behind a foreign key: ``chat`` for ``chat_id``."""
    column = key.columns[-1]
    return camel(column[:-3] if column.lower().endswith("_id") else f"{key.table} {column}")


def backward(key: ForeignKey, model: str, *, many: bool, ambiguous: bool) -> str:
    """Return the field on the other side: ``messages``, ``agentSession``, ``children`` of a ``parent``."""
    name = _lower_first(model.removeprefix("Llm"))
    name = plural(name) if many else name
    if not ambiguous:
        return name
    own = forward(key)
    return "children" if own == "parent" and many else own + name[:1].upper() + name[1:]


def plural(name: str) -> str:
    """Return the plural of one of our models' names (regular ones)."""
    if name.endswith("s"):
        return name
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2:-1] not in tuple("aeiou") else f"{name}s"


def camel(name: str) -> str:
    """Return ``toolCallId`` for ``tool_call_id``; what is no identifier becomes one."""
    words = [_upper_first(word) for word in _WORD.findall(name)]
    made = _lower_first("".join(words))
    return made if made[:1].isalpha() else f"field{made}"


def pascal(name: str) -> str:
    """Return ``ToolCall`` for ``tool_call``; what is no identifier becomes one."""
    made = "".join(_upper_first(word) for word in _WORD.findall(name))
    return made if made[:1].isalpha() else f"Table{made}"


def free(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number behind it where it is taken."""
    if name not in taken:
        return name
    number = 2
    while f"{name}{number}" in taken:
        number += 1
    return f"{name}{number}"


def _logical(physical: str, logical: Mapping[str, str], names: Mapping[str, str]) -> str:
    # A table may have the name that another one of ours had to give up.
    return logical.get(physical) or ("" if physical in names else physical)


def _upper_first(word: str) -> str:
    return word[:1].upper() + word[1:]


def _lower_first(word: str) -> str:
    return word[:1].lower() + word[1:]
