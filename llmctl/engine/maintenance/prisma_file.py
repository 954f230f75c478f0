"""``schema.prisma`` beside the hub: stored up to date, and never over what somebody else wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from llmctl.core.errors import UsageError
from llmctl.store.database import Database
from llmctl.store.emit import prisma
from llmctl.store.schema import introspect, objects

PrismaProvider = Literal["sqlite", "postgresql", "mysql"]


@dataclass(frozen=True, slots=True)
class PrismaOptions:
    """Where to write and for which database; None keeps the previous value, or the default."""

    path: str | None = None
    provider: PrismaProvider | None = None
    major: Literal[6, 7] | None = None


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file and what was done: ``edited`` means it was changed by hand, and the new text is in ``path`` instead."""

    path: str
    state: Literal["made", "updated", "same", "edited"]


def write_schema(database: Database, options: PrismaOptions) -> list[WrittenFile]:
    """Write the schema, and for Prisma 7 its config; remember paths and hashes in the hub."""
    stored: Mapping[str, Any] = database.meta("prisma", {})
    # Only an explicit path is remembered: the schema of a hub that moves is found next to it.
    chosen_path = os.path.abspath(options.path) if options.path else stored.get("path")
    path = _schema_path(chosen_path, database.path)
    provider: PrismaProvider = options.provider or stored.get("provider", "sqlite")
    major: Literal[6, 7] = options.major or stored.get("major", 7)
    texts = _emit_files(database, path, provider, major)
    hashes: dict[str, str] = dict(stored.get("hashes", {}))
    written = [_write_if_ours(name, text, hashes) for name, text in texts.items()]
    state = {"path": chosen_path, "provider": provider, "major": major, "hashes": hashes}
    if state != stored:
        with database.transaction():
            objects.set_meta(database.connection, "prisma", state)
    return written


def list_files(database: Database) -> list[str]:
    """Return the paths of the files written for this hub."""
    stored: Mapping[str, Any] = database.meta("prisma", {})
    return list(stored.get("hashes", {}))


def _schema_path(wanted: str | None, hub: str) -> str:
    path = wanted or os.path.join(os.path.dirname(os.path.abspath(hub)), "schema.prisma")
    return os.path.join(path, "schema.prisma") if os.path.isdir(path) else path


def _emit_files(database: Database, path: str, provider: PrismaProvider, major: Literal[6, 7]) -> dict[str, str]:
    catalogue = introspect.describe_hub(database)
    url = f"file:{os.path.abspath(database.path)}" if provider == "sqlite" else None
    texts = {path: prisma.emit(catalogue, database.names, provider=provider, major=major, url=url)}
    if major == 7:
        config = os.path.join(os.path.dirname(path), "prisma.config.ts")
        texts[config] = prisma.emit_config(catalogue, url=url, provider=provider, schema=os.path.basename(path))
    return texts


def _write_if_ours(path: str, text: str, hashes: dict[str, str]) -> WrittenFile:
    new, present = _hash(text.encode()), _read(path)
    if present is not None and _hash(present) == new:
        hashes[path] = new
        return WrittenFile(path, "same")
    if present is not None and _hash(present) != hashes.get(path):
        _replace_file(f"{path}.new", text)
        return WrittenFile(f"{path}.new", "edited")
    _replace_file(path, text)
    hashes[path] = new
    return WrittenFile(path, "made" if present is None else "updated")


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f'cannot read "{path}": {(error.strerror or "").lower()}') from error


def _replace_file(path: str, text: str) -> None:
    draft = f"{path}.{os.getpid()}.tmp"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise UsageError(
            f'cannot write "{path}": {(error.strerror or "").lower()}', hint="choose another path with --prisma"
        ) from error


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
