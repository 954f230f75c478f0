"""Emits ``prisma.config.ts``: where Prisma 7 finds the database, and which tables it must leave alone.

Prisma knows no full-text search on SQLite; without this file it would offer to drop the tables behind it.
"""

from __future__ import annotations

import json

from llmctl.store.emit.dialects import Provider
from llmctl.store.schema.introspect import Catalogue


def emit(
    catalogue: Catalogue,
    *,
    url: str | None = None,
    provider: Provider = "sqlite",
    schema: str = "schema.prisma",
) -> str:
    """Return ``prisma.config.ts``; ``schema`` is the path of the schema from its folder.

    ``url`` is the address of the database, such as ``file:/home/me/hub.db``; without it ``DATABASE_URL`` is read.
    """
    env = "" if url else ", env"
    address = json.dumps(url, ensure_ascii=False) if url else 'env("DATABASE_URL")'
    external = catalogue.search_tables if provider == "sqlite" else ()
    return (
        f'import {{ defineConfig{env} }} from "prisma/config";\n\n'
        "export default defineConfig({\n"
        f"  schema: {json.dumps(schema, ensure_ascii=False)},\n"
        f"{_external(external)}"
        f"  datasource: {{\n    url: {address},\n  }},\n"
        "});\n"
    )


def _external(tables: tuple[str, ...]) -> str:
    if not tables:
        return ""
    listed = "".join(f"      {json.dumps(name, ensure_ascii=False)},\n" for name in tables)
    return (
        "  // Full-text search: SQLite's own tables, which Prisma neither reads nor changes.\n"
        "  experimental: {\n    externalTables: true,\n  },\n"
        f"  tables: {{\n    external: [\n{listed}    ],\n  }},\n"
    )
