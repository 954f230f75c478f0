"""Providers as data: where a host is, how it wants the key, which wire and which dialect it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from llmctl.core.dialect import Dialect
from llmctl.core.registry import Registry
from llmctl.providers.hosts import host_of, is_loopback, matches, origin


@dataclass(frozen=True, slots=True)
class ModelWire:
    """Models that are asked over another wire than their provider's own."""

    #: Shell pattern of model ids.
    models: str
    wire: str
    #: They exist on no other wire, so that this holds behind any base URL. Elsewhere a host that is not the
    #: provider's is asked over the wire that all hosts know.
    only: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. Nothing here is executed; wires read ``dialect``, the engine reads the rest."""

    name: str
    #: Empty where every user has another one (Azure, Vertex AI, any compatible host).
    base_url: str
    wire: str = "openai-chat"
    #: The first that fits a model decides.
    model_wires: tuple[ModelWire, ...] = ()
    #: How the key travels: ``Authorization: Bearer``, or the named header, or not at all.
    auth: Literal["bearer", "none"] | str = "bearer"
    #: The same for wires beside the provider's own, where it wants the key in another way for them.
    auth_by_wire: Mapping[str, str] = field(default_factory=dict)
    #: Environment variables that may hold the key, first set one wins.
    key_env: tuple[str, ...] = ()
    #: Environment variables that may hold another base URL, first set one wins.
    base_env: tuple[str, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)
    #: Headers sent with every request.
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    #: Model used when a connection made from the environment names none.
    default_model: str | None = None
    #: The same for embeddings and for pictures; None where the provider has none, or none to prefer.
    embedding_model: str | None = None
    image_model: str | None = None
    #: A server on this machine: costs nothing, needs no key.
    local: bool = False
    #: The id NodeLLM knows this provider by, where it does (``chats.provider`` may hold no other).
    nodellm_id: str | None = None
    #: Where the facts come from.
    docs: str = ""
    #: Hosts of the provider beside that of ``base_url``; ``.example.com`` means every host below it.
    hosts: tuple[str, ...] = ()
    #: Path of a base URL that names a bare host: no such host answers at its root.
    root_path: str = ""
    #: What a base URL looks like, where every user has another one.
    base_example: str = ""


PROVIDERS: Registry[Provider] = Registry(
    "provider",
    "llmctl.providers",
    {
        "openai": "openai:PROVIDER",
        "anthropic": "anthropic:PROVIDER",
        "gemini": "gemini:PROVIDER",
        "vertex": "vertex:PROVIDER",
        "openrouter": "compatible:OPENROUTER",
        "deepseek": "compatible:DEEPSEEK",
        "mistral": "compatible:MISTRAL",
        "xai": "compatible:XAI",
        "groq": "compatible:GROQ",
        "together": "compatible:TOGETHER",
        "fireworks": "compatible:FIREWORKS",
        "perplexity": "compatible:PERPLEXITY",
        "cerebras": "compatible:CEREBRAS",
        "zai": "compatible:ZAI",
        "azure": "compatible:AZURE",
        "huggingface": "compatible:HUGGINGFACE",
        "ollama": "compatible:OLLAMA",
        "lmstudio": "compatible:LMSTUDIO",
        "llamacpp": "compatible:LLAMACPP",
        "vllm": "compatible:VLLM",
        "gpustack": "compatible:GPUSTACK",
        "compatible": "compatible:COMPATIBLE",
        "echo": "echo:PROVIDER",
    },
    group="llmctl.providers",
    wanted=Provider,
)


def owns(provider: Provider, url: str) -> bool:
    """Tell whether a URL leads to the provider's own servers: its host over TLS, its port on this machine."""
    scheme, host, port = origin(url)
    if provider.local and is_loopback(url):
        return port == origin(provider.base_url)[2]
    if scheme != "https" or not host:
        return False
    own = host_of(provider.base_url)
    return (host == own and not provider.local) or any(matches(host, pattern) for pattern in provider.hosts)


def wire_of(provider: Provider, model: str, base_url: str) -> str:
    """Return the wire that a model is asked over where the user chose none."""
    fits = (way for way in provider.model_wires if fnmatchcase(model, way.models))
    way = next(fits, None)
    return way.wire if way and (way.only or owns(provider, base_url)) else provider.wire


def find_by_host(url: str) -> Provider | None:
    """Return the provider whose host a URL names, or None for a host that nobody here knows."""
    providers = (PROVIDERS.load(name) for name in PROVIDERS.names())
    return next((provider for provider in providers if owns(provider, url)), None)
