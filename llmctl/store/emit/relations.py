"""Tables as models with fields and relations, as Prisma, Drizzle and TypeORM need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from llmctl.store.emit import naming
from llmctl.store.emit.dialects import Provider
from llmctl.store.emit.naming import NamingStyle
from llmctl.store.schema.introspect import Catalogue, ForeignKey, Table


class Relation(NamedTuple):
    """A foreign key with its field in each of the two models; ``name`` is set if the two have several."""

    table: str
    key: ForeignKey
    name: str
    forward: str
    backward: str
    many: bool


class ModelSchema(NamedTuple):
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
    models = naming.model_names(catalogue.tables, names, dress)
    taken: dict[str, set[str]] = {table.name: set() for table in catalogue.tables}
    relations = []
    for table in catalogue.tables:
        for key in table.foreign_keys:
            target = catalogue.find(key.table)
            if target:
                relations.append(_relation(table, key, target, models, taken))
    # Relations are named first: a custom column cannot take the name of a field of NodeLLM.
    fields = {table.name: naming.field_names(table, taken[table.name]) for table in catalogue.tables}
    return ModelSchema(provider, models, fields, tuple(relations))


def _relation(
    table: Table, key: ForeignKey, target: Table, models: Mapping[str, str], taken: Mapping[str, set[str]]
) -> Relation:
    many = key.columns != table.key and key.columns not in [i.columns for i in table.indexes if i.unique]
    ambiguous = target == table or sum(other.table == key.table for other in table.foreign_keys) > 1
    forward = naming.unique_name(naming.forward_field(key), taken[table.name])
    taken[table.name].add(forward)
    backward = naming.backward_field(key, models[table.name], many=many, ambiguous=ambiguous)
    backward = naming.unique_name(backward, taken[target.name])
    taken[target.name].add(backward)
    name = f"{models[table.name]}{naming.to_pascal(forward)}" if ambiguous else ""
    return Relation(table.name, key, name, forward, backward, many)
