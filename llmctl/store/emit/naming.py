"""Names of tables, columns and relations outside SQL, and tables as models with fields and relations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from llmctl.core.values import Value
from llmctl.store.emit.dialects import Provider
from llmctl.store.schema.introspect import Catalogue, ForeignKey, Table

#: ``hub``: llmctl's names. ``nodellm``: the names of ``@node-llm/orm`` for its tables. ``application``: these tables
#: have the models of an application whose database was adopted; a table without ``@@map`` is named like its model.
NamingStyle = Literal["hub", "nodellm", "application"]

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
    "bodies": "Body",
    "provider_batches": "ProviderBatch",
    "map_items": "MapItem",
    "proxy_apps": "ProxyApp",
    "usage_hourly": "UsageHourly",
    "usage_daily": "UsageDaily",
    "usage_monthly": "UsageMonthly",
    "usage_labels": "UsageLabel",
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
#: Columns with another name as a field.
_FIELDS = {"refs": "references"}

#: Names reserved by Prisma, its client, TypeScript or TypeORM.
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

_MODEL = re.compile(r"[A-Z][A-Za-z0-9]*")
_WORD = re.compile(r"[A-Za-z0-9]+")


def model_names(tables: Iterable[Table], names: Mapping[str, str], dress: NamingStyle) -> dict[str, str]:
    """Return physical table -> model; other tables get a model name made from the table's."""
    logical = {physical: table for table, physical in names.items()}
    known = {**_HUB, **({} if dress == "hub" else _NODELLM)}
    if dress == "application":
        known |= {name: names[name] for name in _NODELLM if _MODEL.fullmatch(names.get(name, ""))}
    taken = set(known.values()) | _RESERVED
    result: dict[str, str] = {}
    for table in tables:
        model = known.get(_logical(table.name, logical, names))
        result[table.name] = model or unique_name(to_pascal(table.name), taken)
        taken.add(result[table.name])
    return result


def field_names(table: Table, relations: Iterable[str] = ()) -> dict[str, str]:
    """Return column -> field name; none is the name of a relation."""
    taken = set(relations)
    result: dict[str, str] = {}
    for column in table.columns:
        name = unique_name(_FIELDS.get(column.name) or to_camel(column.name), taken)
        taken.add(name)
        result[column.name] = name
    return result


def forward_field(key: ForeignKey) -> str:
    """Return the relation field of a foreign key: ``chat`` for ``chat_id``."""
    column = key.columns[-1]
    return to_camel(column[:-3] if column.lower().endswith("_id") else f"{key.table} {column}")


def backward_field(key: ForeignKey, model: str, *, many: bool, ambiguous: bool) -> str:
    """Return the inverse relation field: ``messages``, ``agentSession``, ``children`` of a ``parent``."""
    name = _lower_first(model.removeprefix("Llm"))
    name = pluralize(name) if many else name
    if not ambiguous:
        return name
    own = forward_field(key)
    return "children" if own == "parent" and many else own + name[:1].upper() + name[1:]


def pluralize(name: str) -> str:
    """Return the plural of a model name (regular plurals only)."""
    if name.endswith("s"):
        return name
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2:-1] not in tuple("aeiou") else f"{name}s"


def to_camel(name: str) -> str:
    """Return ``toolCallId`` for ``tool_call_id``; always a valid identifier."""
    words = [_upper_first(word) for word in _WORD.findall(name)]
    made = _lower_first("".join(words))
    return made if made[:1].isalpha() else f"field{made}"


def to_pascal(name: str) -> str:
    """Return ``ToolCall`` for ``tool_call``; always a valid identifier."""
    made = "".join(_upper_first(word) for word in _WORD.findall(name))
    return made if made[:1].isalpha() else f"Table{made}"


def unique_name(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number appended if it is taken."""
    if name not in taken:
        return name
    number = 2
    while f"{name}{number}" in taken:
        number += 1
    return f"{name}{number}"


def _logical(physical: str, logical: Mapping[str, str], names: Mapping[str, str]) -> str:
    # Another table may have the logical name of a renamed hub table.
    return logical.get(physical) or ("" if physical in names else physical)


def _upper_first(word: str) -> str:
    return word[:1].upper() + word[1:]


def _lower_first(word: str) -> str:
    return word[:1].lower() + word[1:]


# --- models


class Relation(Value):
    """A foreign key with its field in each of the two models; ``name`` is set if the two have several."""

    table: str
    key: ForeignKey
    name: str
    forward: str
    backward: str
    many: bool


class ModelSchema(Value):
    """Models by table, fields by table and column, and relations."""

    provider: Provider
    models: Mapping[str, str]
    fields: Mapping[str, Mapping[str, str]]
    relations: tuple[Relation, ...]

    def target(self, relation: Relation) -> str:
        """Return the referenced table of a relation, spelled as in its CREATE TABLE."""
        return next(name for name in self.models if name.lower() == relation.key.table.lower())

    def outgoing(self, table: Table) -> tuple[Relation, ...]:
        """Return the relations of a table's foreign keys."""
        return tuple(relation for relation in self.relations if relation.table == table.name)

    def incoming(self, table: Table) -> tuple[Relation, ...]:
        """Return the relations that refer to a table."""
        return tuple(relation for relation in self.relations if relation.key.table.lower() == table.name.lower())


def build_models(catalogue: Catalogue, names: Mapping[str, str], dress: NamingStyle, provider: Provider) -> ModelSchema:
    """Return the models of a catalogue; ``names`` maps logical table names to the hub's."""
    models = model_names(catalogue.tables, names, dress)
    taken: dict[str, set[str]] = {table.name: set() for table in catalogue.tables}
    relations = []
    for table in catalogue.tables:
        for key in table.foreign_keys:
            target = catalogue.find(key.table)
            if target:
                relations.append(_relation(table, key, target, models, taken))
    # Relations are named first: a custom column cannot take the name of a field of NodeLLM.
    fields = {table.name: field_names(table, taken[table.name]) for table in catalogue.tables}
    return ModelSchema(provider, models, fields, tuple(relations))


def _relation(
    table: Table, key: ForeignKey, target: Table, models: Mapping[str, str], taken: Mapping[str, set[str]]
) -> Relation:
    many = key.columns != table.key and key.columns not in [i.columns for i in table.indexes if i.unique]
    ambiguous = target == table or sum(other.table == key.table for other in table.foreign_keys) > 1
    forward = unique_name(forward_field(key), taken[table.name])
    taken[table.name].add(forward)
    backward = backward_field(key, models[table.name], many=many, ambiguous=ambiguous)
    backward = unique_name(backward, taken[target.name])
    taken[target.name].add(backward)
    name = f"{models[table.name]}{to_pascal(forward)}" if ambiguous else ""
    return Relation(table.name, key, name, forward, backward, many)
