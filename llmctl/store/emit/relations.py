"""Tables as models with fields and relations: what Prisma, Drizzle and TypeORM have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from llmctl.store.emit import naming
from llmctl.store.emit.dialects import Provider
from llmctl.store.emit.naming import Dress
from llmctl.store.schema.introspect import Catalogue, ForeignKey, Table


class Relation(NamedTuple):
    """A foreign key with the field it gives each of the two models; ``name`` where the two have several."""

    table: str
    key: ForeignKey
    name: str
    forward: str
    backward: str
    many: bool


class Schema(NamedTuple):
    """All that models need to know of each other: model by table, field by table and column, relations."""

    provider: Provider
    models: Mapping[str, str]
    fields: Mapping[str, Mapping[str, str]]
    relations: tuple[Relation, ...]

    def target(self, relation: Relation) -> str:
        """Return the table that a relation leads to, as it is written where it was made."""
        return next(name for name in self.models if name.lower() == relation.key.table.lower())

    def leaving(self, table: Table) -> tuple[Relation, ...]:
        """Return the relations of a table's own foreign keys."""
        return tuple(relation for relation in self.relations if relation.table == table.name)

    def arriving(self, table: Table) -> tuple[Relation, ...]:
        """Return the relations that lead to a table."""
        return tuple(relation for relation in self.relations if relation.key.table.lower() == table.name.lower())


def describe(catalogue: Catalogue, names: Mapping[str, str], dress: Dress, provider: Provider) -> Schema:
    """Return the models of a catalogue; ``names`` maps our table names to the hub's."""
    models = naming.models(catalogue.tables, names, dress)
    taken: dict[str, set[str]] = {table.name: set() for table in catalogue.tables}
    relations = []
    for table in catalogue.tables:
        for key in table.foreign_keys:
            target = catalogue.find(key.table)
            if target:
                relations.append(_relation(table, key, target, models, taken))
    # Relations choose first: a column of the user's own cannot take the name of a field that NodeLLM has.
    fields = {table.name: naming.fields(table, taken[table.name]) for table in catalogue.tables}
    return Schema(provider, models, fields, tuple(relations))


def _relation(
    table: Table, key: ForeignKey, target: Table, models: Mapping[str, str], taken: Mapping[str, set[str]]
) -> Relation:
    many = key.columns != table.key and key.columns not in [i.columns for i in table.indexes if i.unique]
    ambiguous = target == table or sum(other.table == key.table for other in table.foreign_keys) > 1
    forward = naming.free(naming.forward(key), taken[table.name])
    taken[table.name].add(forward)
    backward = naming.backward(key, models[table.name], many=many, ambiguous=ambiguous)
    backward = naming.free(backward, taken[target.name])
    taken[target.name].add(backward)
    name = f"{models[table.name]}{naming.pascal(forward)}" if ambiguous else ""
    return Relation(table.name, key, name, forward, backward, many)
