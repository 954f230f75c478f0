"""The canonical form of a request: what its answer depends on, and nothing else. Its hash is the key of the cache.

Fields that nobody knows count. ``1`` and ``1.0`` differ, arrays and the properties of a JSON Schema keep their order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from llmctl.core.http import HttpRequest
from llmctl.core.redaction import redact_url
from llmctl.core.stored_values import dumps

#: Part of every key: another way to build the canonical form gets another number.
_VERSION = 1
#: Fields of a body that name the caller or ask for another form of the same answer.
_IRRELEVANT = frozenset(
    (
        *("stream", "stream_options", "user", "safety_identifier", "metadata", "client_metadata", "prompt_cache_key"),
        *("prompt_cache_retention", "cache_control"),
    )
)
#: Keys that lead to blocks of a conversation, in which a provider's hints for its own cache may stand.
_BLOCKS = frozenset(
    (
        *("messages", "system", "content", "contents", "input", "parts", "tools", "tool_calls", "output"),
        *("systemInstruction", "functionCall", "functionResponse", "functionDeclarations"),
    )
)
#: Values below these keep the order of their keys: a model writes the properties of a schema in that order.
_ORDERED = frozenset(
    (
        *("parameters", "parametersJsonSchema", "input_schema", "schema", "format", "responseSchema"),
        *("responseJsonSchema", "response_schema", "response_json_schema", "_responseJsonSchema"),
        *("arguments", "args", "response"),
    )
)
#: Names of the ids that tie the result of a tool call to the call: any other id would do.
_CALL_IDS = ("call_id", "tool_call_id", "tool_use_id")
#: Types of blocks whose ``id`` is such an id, too.
_CALL_TYPES = ("function", "function_call", "tool_use")

#: Types of tools that run here; every other one runs at the provider, which looks at the present.
_OWN_TOOL_TYPES = (None, "function", "custom")
#: Fields that let a provider search, run code or continue a state that it keeps.
_HOSTED_FIELDS = (
    *("web_search_options", "search_parameters", "plugins", "mcp_servers", "container"),
    *("conversation", "compound_custom", "prompt"),
)
#: Models, and hosts of models, that search before they answer.
_SEARCHING_MODEL = re.compile(r"(groq/)?compound(-.*)?|.*:online|.*-search-preview.*|.*deep-research.*")
_SEARCHING_HOST = re.compile(r"https?://([^/]*\.)?perplexity\.ai(:\d+)?/")


class CanonicalRequest:
    """What the answer to a request depends on."""

    def __init__(self, wire: str, http: HttpRequest) -> None:
        self._body = _parse_body(http.body)
        self.document: dict[str, Any] = {
            "version": _VERSION,
            "wire": wire,
            "url": _canonical_url(http.url),
            "body": _Cleaner().clean_body(self._body),
        }

    @property
    def key(self) -> str:
        """The key of the cache: SHA-256 in hexadecimal."""
        return sha256(dumps(self.document).encode("utf-8", "replace")).hexdigest()

    def to_text(self) -> str:
        """Return the form as indented JSON, to be compared line by line."""
        return json.dumps(self.document, indent=2, ensure_ascii=False)

    def find_hosted_tool(self) -> str | None:
        """Return the name of what makes the provider look at more than the request, or None."""
        body = self._body
        if not isinstance(body, Mapping):
            return None
        for tool in body.get("tools") or ():
            if name := _hosted_tool_name(tool):
                return name
        if found := next((name for name in _HOSTED_FIELDS if body.get(name) not in (None, False, [])), None):
            return found
        model = str(body.get("model", ""))
        return model if _SEARCHING_MODEL.fullmatch(model) or _SEARCHING_HOST.match(self.document["url"]) else None


def _hosted_tool_name(tool: Any) -> str | None:
    if not isinstance(tool, Mapping):
        return str(tool)
    if tool.get("type") not in _OWN_TOOL_TYPES:
        return str(tool["type"])
    if "type" in tool or "name" in tool or "function" in tool:
        return None
    return next((name for name in tool if name not in ("functionDeclarations", "function_declarations")), None)


def _parse_body(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()


def _canonical_url(url: str) -> str:
    """Return the URL as it is without streaming, without credentials."""
    parts = urlsplit(redact_url(url))
    path = re.sub(r":streamGenerateContent$", ":generateContent", parts.path)
    query = urlencode(sorted(pair for pair in parse_qsl(parts.query) if pair != ("alt", "sse")))
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme}://{host}{path}{f'?{query}' if query else ''}"


class _Cleaner:
    """Removes what cannot change an answer, and numbers the ids of tool calls in the order in which they appear."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def clean_body(self, body: Any) -> Any:
        if not isinstance(body, Mapping):
            return body
        return {name: self._clean(name, body[name], is_block=False) for name in sorted(body) if name not in _IRRELEVANT}

    def _clean(self, name: str, value: Any, *, is_block: bool) -> Any:
        """Return a value of that name; ``is_block``: it stands in a block of the conversation."""
        if name in _ORDERED or (name == "input" and isinstance(value, Mapping)):  # arguments of a call
            return value
        if name in _BLOCKS:
            return self._clean_blocks(name, value)
        if isinstance(value, Mapping):
            return {key: self._clean(key, value[key], is_block=is_block) for key in sorted(value)}
        if isinstance(value, list):
            return [self._clean("", item, is_block=is_block) for item in value]
        if is_block and name in _CALL_IDS and isinstance(value, str):
            return self._number(value)
        return value

    def _clean_blocks(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._clean_blocks(name, item) for item in value]
        if not isinstance(value, Mapping):
            return value
        cleaned = {}
        for key in sorted(value):
            if key == "cache_control":
                continue
            is_call = key == "id" and (
                value.get("type") in _CALL_TYPES or name in ("functionCall", "functionResponse", "tool_calls")
            )
            if is_call and isinstance(value[key], str):
                cleaned[key] = self._number(value[key])
            else:
                cleaned[key] = self._clean(key, value[key], is_block=True)
        return cleaned

    def _number(self, id: str) -> str:
        return f"call {self._ids.setdefault(id, len(self._ids) + 1)}"
