"""Providers as data: where a host is, how it wants the key, which wire and which dialect it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from llmctl.core.dialect import Dialect
from llmctl.core.registry import Registry


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. Nothing here is executed; wires read ``dialect``, the engine reads the rest."""

    name: str
    base_url: str
    wire: str = "openai-chat"
    #: How the key travels: ``Authorization: Bearer``, or the named header, or not at all.
    auth: Literal["bearer", "none"] | str = "bearer"
    #: Environment variables that may hold the key, first set one wins.
    key_env: tuple[str, ...] = ()
    #: Environment variables that may hold another base URL.
    base_env: tuple[str, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)
    #: Headers sent with every request.
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    #: Model used when a connection made from the environment names none.
    default_model: str | None = None
    #: A server on this machine: costs nothing, needs no key.
    local: bool = False
    #: The id NodeLLM knows this provider by, where it does (``chats.provider`` may hold no other).
    nodellm_id: str | None = None
    #: Where the facts come from.
    docs: str = ""


PROVIDERS: Registry[Provider] = Registry("provider", "llmctl.providers", {"echo": "echo:PROVIDER"})
