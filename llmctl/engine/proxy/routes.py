"""Where requests go: to the host that the environment names, to that of a connection, or to the provider."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

from llmctl.core.errors import ConfigError, UnavailableError
from llmctl.core.values import Value
from llmctl.engine.connections import target as targets
from llmctl.engine.connections import trust
from llmctl.engine.runtime import RuntimeEnv
from llmctl.providers import is_loopback, parse_origin
from llmctl.store.database import Database
from llmctl.store.records import connections
from llmctl.transport.proxy import Headers

#: Set for programs that run behind a proxy, to the address of that proxy.
PROXY_VARIABLE = "LLMCTL_PROXY"


class WireRoute(Value):
    """Where requests of a protocol go if nothing else is said."""

    provider: str
    #: Variables that programs read the base URL from.
    variables: tuple[str, ...]
    base_url: str
    #: The part of a path that belongs to the base URL which programs are given.
    prefix: str = ""


_OPENAI = WireRoute("openai", ("OPENAI_BASE_URL", "OPENAI_API_BASE"), "https://api.openai.com/v1", "/v1")
WIRE_ROUTES: Mapping[str, WireRoute] = {
    "openai-chat": _OPENAI,
    "openai-responses": _OPENAI,
    "anthropic": WireRoute("anthropic", ("ANTHROPIC_BASE_URL",), "https://api.anthropic.com"),
    "gemini": WireRoute("gemini", ("GOOGLE_GEMINI_BASE_URL",), "https://generativelanguage.googleapis.com"),
    "ollama": WireRoute("ollama", ("OLLAMA_HOST",), "http://127.0.0.1:11434"),
}


class Route(Value):
    """Where one request goes."""

    url: str
    provider: str
    connection: str | None = None
    connection_id: str | None = None
    #: The connection's authentication, in place of the program's.
    auth: Headers | None = None
    secrets: tuple[str, ...] = ()


class _Base(Value):
    url: str
    provider: str
    connection: str | None = None
    connection_id: str | None = None
    auth: Headers | None = None
    query: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()


class RouteTable:
    """Finds routes. What the environment and the hub say is read once: when the proxy starts, and per connection."""

    def __init__(self, database: Database, runtime: RuntimeEnv, port: int) -> None:
        self._database = database
        self._runtime = runtime
        self._connections: dict[str, _Base] = {}
        #: A route to this proxy would never end.
        self._own_origin = ("http", "127.0.0.1", port)
        self._bases = {wire: self._find_base(route) for wire, route in WIRE_ROUTES.items()}

    def find(self, wire: str, path: str, connection: str | None) -> Route:
        """Return where a request of a protocol goes; ``path`` has the query.

        Raises LlmctlError where there is no such connection or it has no key.
        """
        base = self._bases[wire] if connection is None else self._find_connection(connection)
        scheme, host, port = parse_origin(base.url)
        if (scheme, "127.0.0.1" if host == "localhost" else host, port) == self._own_origin:
            raise ConfigError(f"{base.url} is this proxy itself", reason="loop")
        if self._runtime.offline and not is_loopback(base.url):
            raise UnavailableError(f'cannot reach "{host}": llmctl is offline', reason="offline")
        url = join_url(base.url, path, WIRE_ROUTES[wire].prefix)
        if base.query:
            url += ("&" if "?" in url else "?") + urlencode(base.query)
        return Route(url, base.provider, base.connection, base.connection_id, base.auth, base.secrets)

    def _find_base(self, route: WireRoute) -> _Base:
        env = self._runtime.env
        for variable in route.variables:
            if (value := env.get(variable)) and not is_proxy_url(value, env):
                return _Base(value if "://" in value else f"http://{value}", route.provider)
        row = connections.find_by_provider(self._database, route.provider)
        if row is not None and trust.is_trusted(self._database, row, env):
            found = targets.from_row(row, env)
            return _Base(found.base_url, route.provider, row.name, row.id)
        return _Base(route.base_url, route.provider)

    def _find_connection(self, name: str) -> _Base:
        if name not in self._connections:
            target = targets.for_connection(self._database, name, self._runtime.env)
            resolved = targets.resolve_endpoint(self._database, target, self._runtime)
            endpoint = resolved.endpoint
            self._connections[name] = _Base(
                endpoint.base_url,
                target.provider.name,
                target.connection,
                target.connection_id,
                tuple(endpoint.headers.items()),
                endpoint.query,
                resolved.secrets,
            )
        return self._connections[name]


def join_url(base: str, path: str, prefix: str) -> str:
    """Return the URL of a path below a base URL. A version that both have (``/v1``) is there once."""
    base = base.rstrip("/")
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        return base + path[len(prefix) :]
    last = base.rpartition("/")[2]
    if urlsplit(base).path and path.startswith(f"/{last}/"):
        return base + path[len(last) + 1 :]
    return base + path


def is_proxy_url(url: str, env: Mapping[str, str]) -> bool:
    """Return whether a base URL leads to the proxy that this program runs behind."""
    proxy = env.get(PROXY_VARIABLE)
    return bool(proxy) and parse_origin(url if "://" in url else f"http://{url}") == parse_origin(str(proxy))


def environment_for(port: int, app: str | None = None) -> dict[str, str]:
    """Return the variables with which programs use the proxy at a port."""
    root = f"http://127.0.0.1:{port}" + (f"/a/{quote(app, safe='')}" if app else "")
    found = {PROXY_VARIABLE: f"http://127.0.0.1:{port}"}
    for route in WIRE_ROUTES.values():
        found |= dict.fromkeys(route.variables, root + route.prefix)
    return found
