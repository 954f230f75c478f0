"""``schema.prisma`` beside the hub: kept up to date, and never over what somebody else wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from llmctl.core.errors import UsageError
from llmctl.store.database import Database
from llmctl.store.emit import prisma, prisma_config
from llmctl.store.schema import introspect, objects

Provider = Literal["sqlite", "postgresql", "mysql"]


@dataclass(frozen=True, slots=True)
class Wish:
    """Where and for what; None is as it was, or as it is by default."""

    path: str | None = None
    provider: Provider | None = None
    major: Literal[6, 7] | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """One file: ``made``, ``updated``, ``same``; or ``edited``: it is not as we left it, and ours is in ``path``."""

    path: str
    state: Literal["made", "updated", "same", "edited"]


def write(database: Database, wish: Wish) -> list[Written]:
    """Write the schema, and for Prisma 7 its config; remember what was written and how, for the next time."""
    kept: Mapping[str, Any] = database.meta("prisma", {})
    # Only a place that was asked for is remembered: a hub that moves finds its schema beside itself.
    asked = os.path.abspath(wish.path) if wish.path else kept.get("path")
    path = _path(asked, database.path)
    provider: Provider = wish.provider or kept.get("provider", "sqlite")
    major: Literal[6, 7] = wish.major or kept.get("major", 7)
    texts = _texts(database, path, provider, major)
    hashes: dict[str, str] = dict(kept.get("hashes", {}))
    written = [_write(name, text, hashes) for name, text in texts.items()]
    facts = {"path": asked, "provider": provider, "major": major, "hashes": hashes}
    if facts != kept:
        with database.transaction():
            objects.remember(database.connection, "prisma", facts)
    return written


def places(database: Database) -> list[str]:
    """Return the files that were written for this hub."""
    kept: Mapping[str, Any] = database.meta("prisma", {})
    return list(kept.get("hashes", {}))


def _path(wanted: str | None, hub: str) -> str:
    path = wanted or os.path.join(os.path.dirname(os.path.abspath(hub)), "schema.prisma")
    return os.path.join(path, "schema.prisma") if os.path.isdir(path) else path


def _texts(database: Database, path: str, provider: Provider, major: Literal[6, 7]) -> dict[str, str]:
    catalogue = introspect.of_hub(database)
    url = f"file:{os.path.abspath(database.path)}" if provider == "sqlite" else None
    texts = {path: prisma.emit(catalogue, database.names, provider=provider, major=major, url=url)}
    if major == 7:
        config = os.path.join(os.path.dirname(path), "prisma.config.ts")
        texts[config] = prisma_config.emit(catalogue, url=url, provider=provider, schema=os.path.basename(path))
    return texts


def _write(path: str, text: str, hashes: dict[str, str]) -> Written:
    new, present = _hash(text.encode()), _read(path)
    if present is not None and _hash(present) == new:
        hashes[path] = new
        return Written(path, "same")
    if present is not None and _hash(present) != hashes.get(path):
        _put(f"{path}.new", text)
        return Written(f"{path}.new", "edited")
    _put(path, text)
    hashes[path] = new
    return Written(path, "made" if present is None else "updated")


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f'cannot read "{path}": {(error.strerror or "").lower()}') from error


def _put(path: str, text: str) -> None:
    draft = f"{path}.{os.getpid()}.tmp"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise UsageError(
            f'cannot write "{path}": {(error.strerror or "").lower()}', hint="name another place with --prisma PATH"
        ) from error


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
