"""Emit the schema for other tools. An emitter turns a catalogue and a hub's table names into text."""

from __future__ import annotations

from collections.abc import Callable

from llmctl.core.registry import Registry

#: Called with a catalogue, the hub's table names (logical to physical), and options of the emitter.
Emitter = Callable[..., str]

EMITTERS: Registry[Emitter] = Registry(
    "schema format",
    "llmctl.store.emit",
    {
        "prisma": "prisma:emit",
        "sql": "sql:emit",
        "typescript": "typescript:emit",
        "drizzle": "drizzle:emit",
        "typeorm": "typeorm:emit",
        "json-schema": "json_schema:emit",
    },
    group="llmctl.emitters",
)
