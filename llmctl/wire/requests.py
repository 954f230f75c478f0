"""Build the requests of all wires: URLs, bodies, schemas, thinking, earlier tool calls, and files."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from llmctl.core.chat import File, Message, Text
from llmctl.core.errors import UsageError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.registry import LazyFunction
from llmctl.core.stored_values import dumps

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

# Most requests have no files.
is_text: Callable[[str], bool] = LazyFunction("llmctl.core.media_types:is_text")


def build_url(endpoint: Endpoint, path: str) -> str:
    """Return base URL + path + query; a query in the base URL is kept."""
    base, _, query = endpoint.base_url.partition("?")
    query = "&".join(filter(None, (query, urlencode(endpoint.query))))
    return base.rstrip("/") + path + (f"?{query}" if query else "")


def build_get(endpoint: Endpoint, url: str) -> HttpRequest:
    """Return a GET request that accepts JSON."""
    return HttpRequest("GET", url, {"accept": JSON, **endpoint.headers})


def build_post(endpoint: Endpoint, url: str, body: Mapping[str, Any], *, accept: str = JSON) -> HttpRequest:
    """Return a POST request with a JSON body. Headers of the endpoint win."""
    return HttpRequest("POST", url, {"content-type": JSON, "accept": accept, **endpoint.headers}, encode_body(body))


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Return the body as JSON bytes; lone surrogates become ``?``."""
    return dumps(body).encode("utf-8", "replace")


def is_strict(schema: Any) -> bool:
    """Return whether OpenAI's strict mode accepts the schema: every object is closed and requires all its properties.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
    """
    if isinstance(schema, list | tuple):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        closed = schema.get("additionalProperties") is False
        if not closed or set(properties) != set(schema.get("required") or ()):
            return False
        return all(is_strict(value) for value in properties.values())
    if schema.get("type") == "object":
        return schema.get("additionalProperties") is False
    return all(is_strict(value) for name, value in schema.items() if name not in ("enum", "const", "default"))


_INSTRUCTION = (
    "Answer with one JSON document and nothing else: no fence, no explanation. It must meet this JSON Schema:\n"
)


def append_schema_instruction(messages: tuple[Message, ...], schema: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the messages with the schema appended to the system prompt, which is created if missing.

    Hosts that only guarantee an object require the word "JSON" in the prompt:
    https://api-docs.deepseek.com/guides/json_mode
    """
    instruction = Text(_INSTRUCTION + dumps(schema))
    if messages and messages[0].role == "system":
        first = messages[0]
        return (first.replace(parts=(*first.parts, Text("\n\n"), instruction)), *messages[1:])
    return (Message("system", (instruction,)), *messages)


#: Maximum thinking tokens of each level.
_LEVELS = {"none": 0, "low": 2048, "medium": 12_288, "high": 24_576}


def to_effort_level(effort: str | int) -> str:
    """Return the level of an effort; for a number, the lowest level that allows that many tokens."""
    if isinstance(effort, str):
        return effort
    return next((level for level, max_tokens in _LEVELS.items() if effort <= max_tokens), "high")


def to_token_budget(effort: str | int) -> int:
    """Return the number of thinking tokens of an effort."""
    return effort if isinstance(effort, int) else _LEVELS.get(effort, _LEVELS["high"])


def raise_output_limit(limit: object, thinking: int) -> object:
    """Return an output limit that includes thinking, raised if thinking alone would use it up."""
    is_number = isinstance(limit, int) and not isinstance(limit, bool)
    return limit + thinking if is_number and limit <= thinking else limit  # type: ignore[operator]


#: Characters that not every host accepts in a tool name.
_NAME = r"[^a-zA-Z0-9_-]"


def to_valid_id(id: str, pattern: str) -> str:
    """Return the id if it fully matches ``pattern``, else a valid id derived from it (always the same)."""
    if re.fullmatch(pattern, id):
        return id
    digest = sha256(id.encode("utf-8", "replace")).hexdigest()
    generated = f"call_{digest[:24]}"
    return generated if re.fullmatch(pattern, generated) else digest[:9]


def to_valid_name(name: str, max_length: int = 64) -> str:
    """Return a tool name with only accepted characters; the name of an offered tool is unchanged."""
    return re.sub(_NAME, "_", name)[:max_length] or "tool"


def parse_arguments(text: str) -> dict[str, Any]:
    """Return arguments as a JSON object; text that is not one is wrapped so that the model can still read it."""
    value: Any = text or "{}"
    while isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": value}


def split_media_type(media_type: str) -> tuple[str, str]:
    """Return type and subtype in lower case, without parameters."""
    kind, _, subtype = media_type.partition(";")[0].strip().lower().partition("/")
    return kind, subtype


def decode_text(file: File) -> str:
    return require_data(file).decode("utf-8-sig", "replace")


def inline_text(file: File) -> str:
    """Return a text file as part of a prompt, tagged with its name."""
    text = decode_text(file)
    end = "" if text.endswith("\n") else "\n"
    return f'<file name="{file.name or "attachment"}">\n{text}{end}</file>'


def encode_base64(file: File) -> str:
    return binascii.b2a_base64(require_data(file), newline=False).decode("ascii")


def build_file_url(file: File) -> str:
    """Return the URL of a file, or its content as a data URL."""
    return file.url or f"data:{file.media_type};base64,{encode_base64(file)}"


def require_data(file: File) -> bytes:
    """Return the bytes; raise UsageError if the file is only a URL."""
    if file.data is None:
        raise UsageError(
            f'this connection does not accept {file.media_type} by URL: "{file.url}"',
            hint="download the file and attach it",
            reason="attachment",
        )
    return file.data
