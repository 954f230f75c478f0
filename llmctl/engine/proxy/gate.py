"""What the proxy decides: where a request goes, whether it may, and what is kept of it while it passes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from llmctl.core import clock
from llmctl.core.errors import BudgetError, LlmctlError, StorageError
from llmctl.core.redaction import Redaction
from llmctl.core.stored_values import new_id
from llmctl.core.values import Value
from llmctl.engine.proxy.routes import Route, RouteTable
from llmctl.store.exchange_spool import ExchangeFolder, ExchangeWriter
from llmctl.store.records.types import ProxyAppRow
from llmctl.transport.decompression import ACCEPTED
from llmctl.transport.proxy import Headers, ProxiedRequest, Refusal, without_hop_by_hop
from llmctl.wire.incoming import Operation, build_refusal, identify

#: Headers in which programs send their key, and the parameter of a query.
_KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
_KEY_PARAMETER = "key"
_OWN_KEY = "llmctl-"
_OWN_HEADER = "x-llmctl-"
#: The OAuth token of Claude's subscription; ChatGPT's is a JWT, sent to its own host.
_CLAUDE_TOKEN, _JWT = "sk-ant-oat", "eyJ"
_CHATGPT_HEADER, _CHATGPT_HOST = "chatgpt-account-id", ".chatgpt.com"
#: What a limit counts.
_PAID_KINDS = ("chat", "embedding", "image")


class ProxyOptions(Value):
    """What the command line says of a proxy."""

    app: str | None = None
    #: Job of the proxy.
    job_id: str = ""
    folder: str | None = None
    project: str | None = None
    no_log: bool = False
    require_key: bool = False
    forward_anyway: bool = False
    #: US dollars.
    max_cost: float | None = None
    #: Bytes of each body that are kept.
    max_body_bytes: int = 16 * 1024 * 1024


FindApp = Callable[[str | None, str | None], ProxyAppRow | None]
#: Reserves the cost of a request: gets its id, what is known of it, and its body. Raises BudgetError.
Reserve = Callable[[str, Mapping[str, Any], bytes], None]


class ProxyGate:
    """Decides about every request of one proxy."""

    def __init__(
        self,
        options: ProxyOptions,
        folder: ExchangeFolder,
        routes: RouteTable,
        find_app: FindApp,
        reserve: Reserve,
        on_end: Callable[[str], None],
    ) -> None:
        self._options = options
        self._folder = folder
        self._routes = routes
        self._find_app = find_app
        self._reserve = reserve
        self._on_end = on_end
        #: Exchanges so far.
        self.count = 0

    async def admit(self, request: ProxiedRequest) -> Exchange | Refusal:
        """Return the way of a request, or why it has none; nothing was sent then."""
        path, app_name, connection = _split_path(request.path)
        names = {name.lower(): value for name, value in request.headers}
        operation = identify(request.method, path.partition("?")[0], names)
        key = _find_key(names, path)
        is_own_key = key is not None and key.startswith(_OWN_KEY)
        app = self._find_app(_hash_key(key) if key and is_own_key else None, app_name or names.get("x-llmctl-app"))
        if is_own_key and app is None:
            return self._deny(operation, 401, "unknown_key", "no app has this key: llmctl proxy app list")
        if self._options.require_key and not is_own_key:
            return self._deny(operation, 401, "no_key", "this proxy needs the key of an app: llmctl proxy app add")
        if connection and not is_own_key:
            return self._deny(operation, 403, "no_key", "a connection serves only programs with the key of an app")
        try:
            wanted = connection or (app.connection if app and is_own_key else None)
            if app and is_own_key and wanted is None:
                return self._deny(operation, 403, "no_connection", f'the app "{app.name}" has no connection')
            route = self._routes.find(operation.wire, _without_key(path) if is_own_key else path, wanted)
        except LlmctlError as error:
            return self._deny(operation, 502, error.reason or error.code, error.message)
        if app and app.models and not _matches(app.models, operation, request):
            return self._deny(operation, 403, "model_not_allowed", f'the app "{app.name}" may not use this model')
        about = self._describe(request, operation, route, app, app_name, names, key)
        return self._begin(request, operation, route, about, key)

    def refuse(self, request: ProxiedRequest, status: int, reason: str, message: str) -> Refusal:
        names = {name.lower(): value for name, value in request.headers}
        return self._deny(identify(request.method, request.path.partition("?")[0], names), status, reason, message)

    def _deny(self, operation: Operation, status: int, reason: str, message: str) -> Refusal:
        headers = {"content-type": "application/json"}
        if status != 502:  # the upstream may be there the next time
            headers["x-should-retry"] = "false"
        return Refusal(status, build_refusal(operation.wire, status, reason, f"llmctl: {message}"), headers)

    def _describe(
        self,
        request: ProxiedRequest,
        operation: Operation,
        route: Route,
        app: ProxyAppRow | None,
        app_name: str | None,
        names: Mapping[str, str],
        key: str | None,
    ) -> dict[str, Any]:
        redact = Redaction([secret for secret in (key, *route.secrets) if secret])
        client = names.get("user-agent", "").partition(" ")[0] or None
        options = self._options
        return {
            "at": clock.now(),
            "method": request.method,
            "url": redact.url(route.url),
            "headers": redact.headers(dict(request.headers)),
            "wire": operation.wire,
            "kind": operation.kind,
            "model": operation.model,
            "app": app.name if app else app_name or options.app or (client or "").partition("/")[0] or "unknown",
            "client": client,
            "connection": route.connection,
            "connection_id": route.connection_id,
            "provider": route.provider,
            "folder": options.folder,
            "project": options.project,
            "billing": "subscription" if _is_subscription(names, key, route.url) else None,
            "no_log": options.no_log or bool(app and app.no_log),
            "job_id": options.job_id,
        }

    def _begin(
        self,
        request: ProxiedRequest,
        operation: Operation,
        route: Route,
        about: Mapping[str, Any],
        key: str | None,
    ) -> Exchange | Refusal:
        exchange_id = new_id()
        try:
            if operation.kind in _PAID_KINDS and about["billing"] is None:
                self._reserve(exchange_id, about, request.start if request.is_whole else b"")
            writer = self._folder.begin(exchange_id, about, self._options.max_body_bytes)
            writer.flush()
        except BudgetError as error:
            return self._deny(operation, 402, "budget", error.message)
        except (OSError, StorageError) as error:
            if not self._options.forward_anyway:
                return self._deny(operation, 503, "storage", f"this call cannot be recorded: {error}")
            writer = None
        self.count += 1
        secrets = [secret for secret in (key, *route.secrets) if secret]
        headers = _forwarded_headers(request.headers, route, replaces_key=route.auth is not None)
        return Exchange(exchange_id, route.url, headers, writer, Redaction(secrets), self._on_end)


class _SecretFilter:
    """Takes secrets out of one direction of an exchange: what may be the beginning of one waits for the rest."""

    def __init__(self, redact: Redaction) -> None:
        self._redact = redact
        self._held = b""

    def take(self, data: bytes) -> bytes:
        """Return what can be kept by now."""
        data = self._held + data
        size = len(data) - self._redact.partial_secret_bytes(data)
        self._held = data[size:]
        return self._redact.raw(data[:size])

    def take_rest(self) -> bytes:
        held, self._held = self._held, b""
        return self._redact.raw(held)


class Exchange:
    """A request on its way; what is kept of it has no secrets.

    Where the disk takes no more, it passes on: its answer is paid. What was kept so far is recorded as broken off.
    """

    def __init__(
        self,
        exchange_id: str,
        url: str,
        headers: Headers,
        writer: ExchangeWriter | None,
        redact: Redaction,
        on_end: Callable[[str], None],
    ) -> None:
        self.url = url
        self.headers = headers
        self._id = exchange_id
        self._writer = writer
        self._redact = redact
        self._request, self._answer = _SecretFilter(redact), _SecretFilter(redact)
        self._on_end = on_end

    def begin(self) -> None:
        """It was written down when it was admitted."""

    def add_request(self, data: bytes) -> None:
        if kept := self._request.take(data):
            self._keep(lambda writer: writer.add_request(kept))

    def end_request(self) -> None:
        rest = self._request.take_rest()
        self._keep(lambda writer: writer.add_request(rest))
        self._keep(lambda writer: writer.end_request())

    def respond(self, status: int, headers: Headers) -> None:
        names = {name.lower(): value for name, value in headers}
        self._keep(lambda writer: writer.respond(status, self._redact.headers(names)))

    def add_response(self, data: bytes) -> None:
        if kept := self._answer.take(data):
            self._keep(lambda writer: writer.add_answer(kept))

    def end(self, error: str | None) -> None:
        if rest := self._answer.take_rest():
            self._keep(lambda writer: writer.add_answer(rest))
        self._keep(lambda writer: writer.end(error))
        self._on_end(self._id)

    def _keep(self, write: Callable[[ExchangeWriter], None]) -> None:
        """Write to the file, as long as the disk takes it."""
        if self._writer is None:
            return
        try:
            write(self._writer)
        except OSError:
            self._writer.abandon()
            self._writer = None


def _split_path(path: str) -> tuple[str, str | None, str | None]:
    """Return the path without ``/a/APP`` and ``/c/CONNECTION`` at its beginning, and these two names."""
    found: dict[str, str] = {}
    while path[:3] in ("/a/", "/c/") and path[1] not in found:
        name, slash, rest = path[3:].partition("/")
        found[path[1]] = name
        path = slash + rest
    app, connection = (unquote(found[kind]) if kind in found else None for kind in ("a", "c"))
    return path or "/", app, connection


def _find_key(names: Mapping[str, str], path: str) -> str | None:
    """Return the key that a program sent."""
    for name in _KEY_HEADERS:
        if value := names.get(name):
            return value.partition(" ")[2].strip() if value.lower().startswith("bearer ") else value
    query = urlsplit(path).query
    return dict(parse_qsl(query)).get(_KEY_PARAMETER) if _KEY_PARAMETER in query else None


def _without_key(path: str) -> str:
    """Return a path without the parameter that holds a key of ours."""
    before, _, query = path.partition("?")
    kept = [pair for pair in query.split("&") if pair.partition("=")[0] != _KEY_PARAMETER]
    return f"{before}?{'&'.join(kept)}" if any(kept) else before


def _hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _is_subscription(names: Mapping[str, str], key: str | None, url: str) -> bool:
    """Return whether a request is paid by a subscription: by a token that only subscriptions have."""
    if key is None or not key.startswith((_CLAUDE_TOKEN, _JWT)):
        return False
    host = urlsplit(url).hostname or ""
    is_chatgpt = host.endswith(_CHATGPT_HOST) or f".{host}" == _CHATGPT_HOST
    return key.startswith(_CLAUDE_TOKEN) or (_CHATGPT_HEADER in names and is_chatgpt)


def _matches(pattern: str, operation: Operation, request: ProxiedRequest) -> bool:
    """Return whether an app may use the model of a request; one that names none may pass."""
    from fnmatch import fnmatchcase

    model = operation.model
    if model is None and request.start:
        try:
            body = json.loads(request.start) if request.is_whole else {}
        except ValueError:
            body = {}
        named = body.get("model") if isinstance(body, dict) else None
        model = named if isinstance(named, str) else None
        if model is None and operation.kind in ("chat", "embedding", "image"):
            return False
    return model is None or any(fnmatchcase(model, one.strip()) for one in pattern.split(","))


def _forwarded_headers(headers: Headers, route: Route, *, replaces_key: bool) -> Headers:
    """Return the headers to send: as they came, but for those between two hops, our own, and a key of ours."""
    sent = []
    for name, value in without_hop_by_hop(headers):
        lower = name.lower()
        # The answer to Expect is our own: the caller has it by now.
        if lower in ("host", "expect") or lower.startswith(_OWN_HEADER) or (replaces_key and lower in _KEY_HEADERS):
            continue
        if lower == "accept-encoding":
            value = _narrow_encodings(value)
        sent.append((name, value))
    return (*sent, *(route.auth or ()))


def _narrow_encodings(offered: str) -> str:
    """Return what a program accepts and we can read, too."""
    known = ACCEPTED.split(", ")
    kept = [one.strip() for one in offered.split(",") if one.strip().partition(";")[0].lower() in known]
    return ", ".join(kept) or "identity"
