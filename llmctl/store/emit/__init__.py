"""The schema for other tools. An emitter turns a catalogue and a hub's table names into a text."""

from __future__ import annotations

from collections.abc import Callable

from llmctl.core.registry import Registry

#: Each is called with a catalogue, the hub's own table names (logical to physical), and options of its own.
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
