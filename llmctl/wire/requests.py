"""Build the requests of all wires: URLs, bodies, schemas, thinking, earlier tool calls, and files."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from llmctl.core.chat import ChatRequest, File, Message, Text, ToolCall, ToolResult, tag_text_file
from llmctl.core.errors import UsageError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.registry import LazyFunction
from llmctl.core.stored_values import dumps
from llmctl.core.values import Value

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
        return (first.replace(parts=(*first.parts, instruction)), *messages[1:])
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


class NameRule(Value):
    """The tool names that a wire accepts: character classes of the first and of the others, and the length."""

    first: str = "a-zA-Z0-9_-"
    rest: str = "a-zA-Z0-9_-"
    max_chars: int = 64


def has_tools(request: ChatRequest) -> bool:
    """Return whether a request offers tools, or has earlier calls of tools."""
    return (
        bool(request.tools)
        or "tool_choice" in request.options
        or any(isinstance(part, ToolCall | ToolResult) for message in request.messages for part in message.parts)
    )


def list_tools(chosen: Any) -> list[Any]:
    """Return the tools of the user's option ``tools``: a list, or one. Raises UsageError for anything else."""
    if isinstance(chosen, Mapping):
        return [chosen]
    if not chosen or isinstance(chosen, list | tuple):
        return list(chosen or ())
    raise UsageError(
        f'option "tools" must be a list of objects, got "{chosen}"',
        hint="""pass JSON: -o 'tools:=[{"type": "web_search"}]'""",
    )


def join_tools(offered: list[Any], chosen: Any) -> list[Any]:
    """Return the tools that are offered, and the provider's own that the user chose (option ``tools``)."""
    return [*offered, *(tool for tool in list_tools(chosen) if tool not in offered)]


def to_valid_id(id: str, pattern: str) -> str:
    """Return the id if it fully matches ``pattern``, else a valid id derived from it (always the same)."""
    if re.fullmatch(pattern, id):
        return id
    digest = sha256(id.encode("utf-8", "replace")).hexdigest()
    generated = f"call_{digest[:24]}"
    return generated if re.fullmatch(pattern, generated) else digest[:9]


class ToolIdMap:
    """Maps the call ids of one request to ids that the wire accepts, each once.

    Other providers use other characters and longer ids, and repeat them: in later turns, and within one answer.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._used: set[str] = set()
        #: The ids sent for calls that have no result yet, by the provider's id.
        self._open: dict[str, list[str]] = {}

    def for_call(self, id: str) -> str:
        """Return the id to send for a call; a new one if it was used before."""
        sent = to_valid_id(id, self._pattern)
        number = 1
        while sent in self._used:
            number += 1
            numbered = f"{id[:56]}_{number}"
            sent = numbered if re.fullmatch(self._pattern, numbered) else to_valid_id(f"{id}\0{number}", self._pattern)
        self._used.add(sent)
        self._open.setdefault(id, []).append(sent)
        return sent

    def for_result(self, id: str) -> str:
        """Return the id of the call that a result answers: results come in the order of their calls."""
        waiting = self._open.get(id)
        if not waiting:
            return to_valid_id(id, self._pattern)
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def forget_answered(self) -> None:
        """Forget the calls so far: the results that follow belong to the next answer."""
        self._open.clear()


def parse_arguments(text: str) -> dict[str, Any]:
    """Return arguments as a JSON object; text that is not one is wrapped so that the model can still read it."""
    value: Any = text or "{}"
    while isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_reject_constant)
        except (ValueError, RecursionError):
            return {"arguments": text}
    return value if isinstance(value, dict) else {"arguments": value}


def encode_arguments(text: str) -> str:
    """Return arguments as the JSON text of an object: hosts refuse a call of their own with any other."""
    value: Any = None
    with suppress(ValueError, RecursionError):
        value = json.loads(text, parse_constant=_reject_constant)
    return text if isinstance(value, dict) else dumps(parse_arguments(text))


def _reject_constant(word: str) -> Any:
    raise ValueError(f"{word} is not valid JSON")


def split_media_type(media_type: str) -> tuple[str, str]:
    """Return type and subtype in lower case, without parameters."""
    kind, _, subtype = media_type.partition(";")[0].strip().lower().partition("/")
    return kind, subtype


def decode_text(file: File) -> str:
    from llmctl.core import media_types  # most requests have no files

    data = require_data(file)
    text = media_types.decode_text(data, media_types.find_charset(file.media_type))
    return data.decode("utf-8", "replace") if text is None else text


def inline_text(file: File) -> str:
    """Return a text file as part of a prompt, tagged with its name."""
    return tag_text_file(file.name, decode_text(file))


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
