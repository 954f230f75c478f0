"""Providers as data (host, authentication, wire and dialect), and which provider a URL belongs to. No lookups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from llmctl.core.errors import ConfigError
from llmctl.core.http import Dialect
from llmctl.core.registry import Registry
from llmctl.core.values import Value


class ModelWire(Value):
    """Models that use another wire than their provider's default."""

    #: Shell pattern of model ids.
    models: str
    wire: str
    #: The models exist on this wire only, so it is used with any base URL. Otherwise a host that is not the
    #: provider's own uses the default wire, which all hosts support.
    only: bool = False


class Provider(Value):
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
    auth_by_wire: Mapping[str, str] = {}
    #: Environment variables that may hold the key; the first one set wins.
    key_env: tuple[str, ...] = ()
    #: Environment variables that may hold another base URL; the first one set wins.
    base_env: tuple[str, ...] = ()
    dialect: Dialect = Dialect()
    #: Headers sent with every request.
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    #: Model of a connection from the environment without one.
    default_model: str | None = None
    #: The same for embeddings and images; None if the provider has none or there is no obvious choice.
    embedding_model: str | None = None
    image_model: str | None = None
    #: The batch API, as a name in :data:`llmctl.wire.batches.BATCHES`; None: it has none.
    batches: str | None = None
    #: A server on this machine: free, no key required.
    local: bool = False
    #: It forwards to models of many vendors: any model name may exist there.
    router: bool = False
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
        "gemini": "gemini:GEMINI",
        "vertex": "gemini:VERTEX",
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
        "bedrock": "compatible:BEDROCK",
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


#: What provider pages show as the URL of a call; the wires append it to the base URL.
_ENDPOINT = (
    r"(/chat/completions|/(v1/)?messages|/responses|/embeddings|/images/(generations|edits)"
    r"|/api/(chat|generate|embed)|/models/[^/]+:\w+)$"
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


def parse_origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port in lower case; the host is empty if the URL is ambiguous.

    ``https://api.openai.com@elsewhere.example`` and backslashes are ambiguous: a key must not be sent there.
    """
    parts = _split_url(url)
    if parts is None:
        return "", "", None
    return (
        parts.scheme.lower(),
        parse_host(url),
        parts.port or {"https": 443, "http": 80}.get(parts.scheme.lower()),
    )


def parse_host(url: str) -> str:
    """Return the lower-case host of a URL without port and final dot; empty if it is missing or ambiguous."""
    parts = _split_url(url)
    return (parts.hostname or "").rstrip(".") if parts else ""


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is this machine, judged by its name only."""
    host = parse_host(url)
    numbers = host.split(".")
    return (
        host in ("localhost", "::1")
        or host.endswith(".localhost")
        or (len(numbers) == 4 and numbers[0] == "127" and all(number.isdecimal() for number in numbers))
    )


def host_matches(host: str, pattern: str) -> bool:
    """Return whether a host equals the pattern, or is below it if the pattern starts with a dot."""
    return host.endswith(pattern) if pattern.startswith(".") else host == pattern


def split_base_url(url: str, root_path: str = "") -> tuple[str, dict[str, str]]:
    """Split a base URL into the part before the query, to which paths can be appended, and the query.

    The endpoint of a call is cut off. ``root_path`` is added if the URL has no path. Raises ConfigError for an
    invalid URL.
    """
    parts = _split_url(url.strip())
    if parts is None or not parts.scheme or not parts.hostname:
        # Anything before "@" or after "?" may be a key.
        shown_url = re.sub(r"(//)[^/]*@", r"\1…@", url.partition("?")[0])
        hint = "use a URL such as https://host.example/v1"
        hint += ", and pass the key separately" if shown_url != url else ""
        raise ConfigError(f'invalid base URL "{shown_url}"', hint=hint)
    path = re.sub(_ENDPOINT, "", parts.path.rstrip("/")) or root_path
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), dict(parse_qsl(parts.query))


def _split_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - a property that raises for "host:port" where port is no number
    except ValueError:
        return None
    # urlsplit drops tabs and line breaks that other parsers keep, and accepts "\" in a host.
    readable = url.isprintable() and not set(parts.netloc) & set("@\\ %")
    return parts if readable else None
