"""Providers as data: host, authentication, wire and dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from llmctl.core.dialect import Dialect
from llmctl.core.registry import Registry
from llmctl.providers.hosts import host_matches, is_loopback, parse_host, parse_origin


@dataclass(frozen=True, slots=True)
class ModelWire:
    """Models that use another wire than their provider's default."""

    #: Shell pattern of model ids.
    models: str
    wire: str
    #: The models exist on this wire only, so it is used with any base URL. Otherwise a host that is not the
    #: provider's own uses the default wire, which all hosts support.
    only: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider, as data only: wires read ``dialect``, the engine reads the rest."""

    name: str
    #: Empty if every user has their own (Azure, Vertex AI, any compatible host).
    base_url: str
    wire: str = "openai-chat"
    #: The first rule that matches a model applies.
    model_wires: tuple[ModelWire, ...] = ()
    #: How the key is sent: ``Authorization: Bearer``, the named header, or not at all.
    auth: Literal["bearer", "none"] | str = "bearer"
    #: The same by wire, for wires on which the provider expects the key elsewhere.
    auth_by_wire: Mapping[str, str] = field(default_factory=dict)
    #: Environment variables that may hold the key; the first one set wins.
    key_env: tuple[str, ...] = ()
    #: Environment variables that may hold another base URL; the first one set wins.
    base_env: tuple[str, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)
    #: Headers sent with every request.
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    #: Model of a connection from the environment without one.
    default_model: str | None = None
    #: The same for embeddings and images; None if the provider has none or there is no obvious choice.
    embedding_model: str | None = None
    image_model: str | None = None
    #: A server on this machine: free, no key required.
    local: bool = False
    #: NodeLLM's id of the provider, if it has one (``chats.provider`` accepts no other).
    nodellm_id: str | None = None
    #: Source of this data.
    docs: str = ""
    #: Further hosts of the provider; ``.example.com`` matches every host below it.
    hosts: tuple[str, ...] = ()
    #: Path to append to a base URL without one, because no such host answers at its root.
    root_path: str = ""
    #: Example of a base URL, if every user has their own.
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


def owns_url(provider: Provider, url: str) -> bool:
    """Return whether a URL leads to the provider's own servers: its host over TLS, or its port on this machine."""
    scheme, host, port = parse_origin(url)
    if provider.local and is_loopback(url):
        return port == parse_origin(provider.base_url)[2]
    if scheme != "https" or not host:
        return False
    own = parse_host(provider.base_url)
    return (host == own and not provider.local) or any(host_matches(host, pattern) for pattern in provider.hosts)


def select_wire(provider: Provider, model: str, base_url: str) -> str:
    """Return the wire for a model if the user chose none."""
    matches = (way for way in provider.model_wires if fnmatchcase(model, way.models))
    rule = next(matches, None)
    return rule.wire if rule and (rule.only or owns_url(provider, base_url)) else provider.wire


def find_by_host(url: str) -> Provider | None:
    """Return the provider that owns the host of a URL; None for an unknown host."""
    providers = (PROVIDERS.load(name) for name in PROVIDERS.names())
    return next((provider for provider in providers if owns_url(provider, url)), None)
