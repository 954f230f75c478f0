"""Build the request of a chat: contents and files, tools, the schema and thinking.

Contents alternate between user and model, system text is separate, and all results of a step come right after its
calls. Thinking has levels since Gemini 3, a token budget in 2.5 and nothing before.
https://ai.google.dev/api/caching#Content, https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from llmctl.core.chat import ChatRequest, File, Message, Part, Text, Thinking, ToolCall, ToolResult, ToolSpec
from llmctl.core.errors import UsageError
from llmctl.core.http import Dialect, Endpoint, HttpRequest
from llmctl.wire.requests import (
    EVENT_STREAM,
    NameRule,
    append_schema_instruction,
    build_post,
    build_url,
    encode_base64,
    has_tools,
    inline_text,
    is_text,
    join_tools,
    parse_arguments,
    split_media_type,
    to_effort_level,
)

#: https://ai.google.dev/api/caching#FunctionDeclaration
TOOL_NAMES = NameRule(first="a-zA-Z_", rest="a-zA-Z0-9_.:-")
#: Maximum output tokens of any model.
_MAX_OUTPUT_TOKENS = 65_536


def build_request(endpoint: Endpoint, request: ChatRequest) -> HttpRequest:
    """Return the request. The user's ``options`` override our defaults.

    Raises :class:`UsageError` if the model does not support the requested thinking.
    """
    body = _build_body(request) | dict(endpoint.dialect.extra)
    if request.stream:
        url = build_model_url(endpoint, request.model, "streamGenerateContent", alt="sse")
        return build_post(endpoint, url, body, accept=EVENT_STREAM)
    return build_post(endpoint, build_model_url(endpoint, request.model, "generateContent"), body)


def build_model_url(endpoint: Endpoint, model: str, operation: str, **query: str) -> str:
    """Return the URL of an operation; a name with its own path (``tunedModels/x``) is used as is."""
    name = model.strip().strip("/").removeprefix("models/")
    template = "/{model}" if "/" in name else endpoint.dialect.model_path
    path = template.replace("{model}", quote(name, safe="/"))
    return build_url(endpoint.replace(query={**query, **endpoint.query}), f"{path}:{operation}")


def _build_body(request: ChatRequest) -> dict[str, Any]:
    if has_tools(request):
        from llmctl.wire.tools import prepare_tools  # most chats have none

        request = prepare_tools(request, TOOL_NAMES, limited=True)
    chosen, outside = split_options(request.options)
    messages = request.messages
    if request.schema is not None and not _supports_schema(request):
        messages = append_schema_instruction(messages, request.schema)
    config = _build_generation_config(request, chosen)
    system = encode_system(messages)
    tools = _encode_tools(request.tools, outside.pop("tools", None))
    if "tool_choice" in outside:
        outside |= _encode_tool_choice(outside.pop("tool_choice"), outside)
    return (
        {"contents": encode_contents(messages, request.model)}
        | ({"systemInstruction": system} if system else {})
        | ({"tools": tools} if tools else {})
        | ({"generationConfig": config} if config else {})
        | outside
    )


def _build_generation_config(request: ChatRequest, chosen: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    thinking = build_thinking_config(request.thinking, request.model, shown=request.shows_thinking)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    if request.schema is not None and _supports_schema(request):
        config |= {"responseMimeType": "application/json", "responseJsonSchema": _drop_schema_uri(request.schema)}
    limit = chosen.get("maxOutputTokens")
    if thinking is not None and isinstance(limit, int) and limit < _MAX_OUTPUT_TOKENS:
        chosen = chosen | {"maxOutputTokens": min(limit + extra_output_tokens(request.thinking), _MAX_OUTPUT_TOKENS)}
    return config | chosen


def _supports_schema(request: ChatRequest) -> bool:
    """Return whether the model can enforce the schema: before Gemini 3 not together with tools."""
    return not request.tools or parse_version(request.model) >= (3, 0)


def _encode_tools(declared: Iterable[ToolSpec], chosen: Any) -> list[Any]:
    """Return our tools and Google's own tools that the user chose (``-o 'tools=[{"googleSearch": {}}]'``)."""
    functions = [
        {"name": tool.name, "description": tool.description, "parametersJsonSchema": dict(tool.parameters)}
        for tool in declared
    ]
    return join_tools([{"functionDeclarations": functions}] if functions else [], chosen)


def _encode_tool_choice(choice: Any, outside: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field of a ``ToolChoice``, joined with the user's own ``toolConfig``; of another value, that value."""
    from llmctl.wire.tools import ToolChoice

    if not isinstance(choice, ToolChoice):
        return {"tool_choice": choice}
    mode = {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]
    config = {"mode": mode} | ({"allowedFunctionNames": list(choice.names)} if choice.names else {})
    own = outside.get("toolConfig")
    return {"toolConfig": (dict(own) if isinstance(own, Mapping) else {}) | {"functionCallingConfig": config}}


def _drop_schema_uri(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema without ``$schema``, which the API rejects."""
    return {name: value for name, value in schema.items() if name != "$schema"}


#: https://ai.google.dev/api/generate-content#generationconfig
_GENERATION = {
    "audioTimestamp", "candidateCount", "enableAffectiveDialog", "enableEnhancedCivicAnswers", "frequencyPenalty",
    "imageConfig", "logprobs", "maxOutputTokens", "mediaResolution", "presencePenalty", "responseFormat",
    "responseJsonSchema", "responseLogprobs", "responseMimeType", "responseModalities", "responseSchema",
    "routingConfig", "seed", "speechConfig", "stopSequences", "temperature", "thinkingConfig", "topK", "topP",
}  # fmt: skip
#: Names that users know from other providers.
_ALIASES = {"max_tokens": "maxOutputTokens", "max_completion_tokens": "maxOutputTokens", "stop": "stopSequences"}
#: Fields that the request itself sets.
_RESERVED_OPTIONS = {"contents", "model", "stream"}


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of ``generationConfig`` and the top-level fields; unknown names are passed through."""
    inside: dict[str, Any] = {}
    outside: dict[str, Any] = {}
    for name, value in options.items():
        theirs = _ALIASES.get(name) or _to_camel_case(name)
        if theirs == "generationConfig" and isinstance(value, Mapping):
            inside |= value
        elif theirs in _GENERATION:
            inside[theirs] = [value] if theirs == "stopSequences" and isinstance(value, str) else value
        elif name not in _RESERVED_OPTIONS:
            outside[name] = value
    return inside, outside


def _to_camel_case(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


#: Signature of a call that Google did not make or sign; the API rejects such calls otherwise.
#: https://ai.google.dev/gemini-api/docs/thought-signatures (the page's FAQ)
_MISSING_SIGNATURE = "skip_thought_signature_validator"
#: Replaces the start of a conversation that was cut off.
_TRUNCATED_NOTE = "(earlier messages left out)"
#: First generation that requires signed steps and accepts files inside results.
_GEMINI_3 = (3, 0)


def encode_system(messages: Iterable[Message]) -> Json | None:
    """Return the system instruction; None if there is none."""
    texts = [message.text for message in messages if message.role == "system" and message.text.strip()]
    return {"parts": [{"text": text} for text in texts]} if texts else None


def encode_contents(messages: Sequence[Message], model: str) -> list[Json]:
    """Return the contents. Empty messages are omitted."""
    is_gemini_3 = parse_version(model) >= _GEMINI_3
    results = _ToolResults(is_gemini_3)
    present = max((place for place, message in enumerate(messages) if message.role == "user"), default=-1)
    contents: list[Json] = []
    for place, message in enumerate(messages):
        if message.role == "tool":
            results.add(message)
            continue
        contents += results.take_contents()
        if message.role == "assistant":
            results.calls = {call.id: call for call in message.tool_calls}
            _append_model(contents, _encode_model_parts(message, is_gemini_3 and place > present))
        elif message.role == "user":
            _append_user(contents, _encode_user_parts(message))
    return contents + results.take_contents()


def _append_user(contents: list[Json], parts: list[Json]) -> None:
    """Append the user's parts: consecutive messages become one, but results of tools stand alone."""
    last = contents[-1] if contents else {}
    if last.get("role") == "user" and not any("functionResponse" in part for part in last["parts"]):
        last["parts"] += parts
    else:
        contents += _make_content("user", parts)


def _append_model(contents: list[Json], parts: list[Json]) -> None:
    """Append the model's parts: the user must come first, and consecutive model messages become one."""
    if not contents:
        contents += _make_content("user", [{"text": _TRUNCATED_NOTE}] if parts else [])
    if contents and contents[-1]["role"] == "model":
        contents[-1]["parts"] += parts
    else:
        contents += _make_content("model", parts)


class _ToolResults:
    """Collects the results of one step until the next message."""

    def __init__(self, nested: bool) -> None:
        self._nested = nested
        self._responses: list[Json] = []
        self._files: list[Json] = []
        #: The calls that the results answer.
        self.calls: dict[str, ToolCall] = {}

    def add(self, message: Message) -> None:
        self._responses += [self._encode_result(part) for part in message.parts if isinstance(part, ToolResult)]
        files = [encode_file(part) for part in message.parts if isinstance(part, File)]
        inside = [part for part in files if self._nested and self._responses and "inlineData" in part]
        if inside:
            self._responses[-1]["functionResponse"].setdefault("parts", []).extend(inside)
        self._files += [part for part in files if part not in inside]

    def take_contents(self) -> list[Json]:
        contents = _make_content("user", self._responses) + _make_content("user", self._files)
        self._responses, self._files = [], []
        return contents

    def _encode_result(self, part: ToolResult) -> Json:
        call = self.calls.get(part.call_id)
        id = call.metadata.get(CALL_ID) if call else None
        name = part.name or (call.name if call else "tool")
        payload = {"error" if part.is_error else "output": part.content}
        return {"functionResponse": ({"id": id} if id else {}) | {"name": name, "response": payload}}


def _make_content(role: str, parts: list[Json]) -> list[Json]:
    return [{"role": role, "parts": parts}] if parts else []


def _encode_user_parts(message: Message) -> list[Json]:
    payload = (part for part in message.parts if isinstance(part, File) or (isinstance(part, Text) and part.text))
    return [encode_file(part) if isinstance(part, File) else {"text": part.text} for part in payload]


def _encode_model_parts(message: Message, wants_signature: bool) -> list[Json]:
    """Return the parts of an answer; none if it has only thinking. Of several calls only the first is signed."""
    parts = [encoded for part in message.parts if (encoded := _encode_model_part(part))]
    calls = [part for part in parts if "functionCall" in part]
    if wants_signature and calls and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = _MISSING_SIGNATURE
    return parts if any(not part.get("thought") for part in parts) else []


def _encode_model_part(part: Part) -> dict[str, Any] | None:
    match part:
        case Text():
            return encode_text(part)
        case Thinking():
            return encode_thinking(part)
        case ToolCall():
            return encode_call(part)
        case File():
            return encode_file(part)
    return None


#: Marks thinking that this wire produced; thinking of other providers is not sent to Google.
ORIGIN = "gemini"
#: Metadata key of a text or call: the signature of its part.
SIGNATURE = "thought_signature"
#: Metadata key of a call: its id from Google, which is often missing.
CALL_ID = "gemini_id"
#: Metadata key of a part that we have no type for (code that Google ran, an image in an answer): the original part.
PART = "gemini_part"

Json = dict[str, Any]


def thinking_metadata(part: Mapping[str, Any]) -> Json:
    """Return the metadata of a thinking part, or of a part that is kept unchanged."""
    if part.get("thought") and "text" in part:
        return {"wire": ORIGIN}
    return {"wire": ORIGIN, PART: {name: value for name, value in part.items() if name != "thoughtSignature"}}


def encode_text(part: Text) -> Json | None:
    """Return a text part; an empty text is kept only if it is signed."""
    signed = _signature_field(part.metadata)
    return {"text": part.text} | signed if part.text or signed else None


def encode_thinking(part: Thinking) -> Json | None:
    """Return the original part; None if another provider's model produced it."""
    if part.metadata.get("wire") != ORIGIN:
        return None
    stored = part.metadata.get(PART)
    encoded = dict(stored) if isinstance(stored, dict) else {"text": part.text, "thought": True}
    return encoded | ({"thoughtSignature": part.signature} if part.signature else {})


def encode_call(call: ToolCall) -> Json:
    id = call.metadata.get(CALL_ID)
    payload = ({"id": id} if id else {}) | {
        "name": call.name,
        "args": parse_arguments(call.arguments),
    }
    return {"functionCall": payload} | _signature_field(call.metadata)


def _signature_field(metadata: Mapping[str, Any]) -> Json:
    signature = metadata.get(SIGNATURE) or _compatible_signature(metadata)
    return {"thoughtSignature": signature} if signature else {}


def _compatible_signature(metadata: Mapping[str, Any]) -> Any:
    """Return the signature received through Google's copy of Chat Completions."""
    extra = metadata.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return google.get("thought_signature") if isinstance(google, dict) else None


#: https://ai.google.dev/gemini-api/docs/image-understanding
_IMAGE_SUBTYPES = ("png", "jpeg", "jpg", "webp", "heic", "heif", "bmp")


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Return whether a file can be sent: images, video and PDF, also by URL; audio and text as bytes.

    https://ai.google.dev/gemini-api/docs/file-input-methods
    """
    kind, subtype = split_media_type(media_type)
    if is_text(media_type) or kind == "audio":
        return not by_url
    return kind == "video" or (kind == "image" and subtype in _IMAGE_SUBTYPES) or subtype == "pdf"


def encode_file(file: File) -> dict[str, Any]:
    """Return the part of a file. Raises UsageError for a text that is only a URL."""
    if is_text(file.media_type):
        return {"text": inline_text(file)}
    kind = "/".join(split_media_type(file.media_type)).replace("image/jpg", "image/jpeg")
    if file.data is None and file.url:
        return {"fileData": {"mimeType": kind, "fileUri": file.url}}
    return {"inlineData": {"mimeType": kind, "data": encode_base64(file)}}


#: Tokens of each level, as a budget and as the amount by which an output limit is raised.
_BUDGETS = {"none": 0, "low": 1024, "medium": 8192, "high": 24_576}
#: 2.5 Pro cannot stop thinking; this is its minimum.
_MIN_PRO_BUDGET = 128
_VERSION = r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)"
#: Version of names without a number, such as gemini-flash-latest.
_NEWEST = (99, 0)


def parse_version(model: str) -> tuple[int, int]:
    """Return the version in a model name; a version above all others if there is none."""
    found = re.search(_VERSION, model.lower())
    return (int(found[1]), int(found[2] or 0)) if found else _NEWEST


def build_thinking_config(effort: str | int | None, model: str, *, shown: bool = False) -> dict[str, Any] | None:
    """Return ``thinkingConfig``; None if it is not needed. Raises UsageError if the model does not think.

    ``shown``: request the text even from a model that thinks by default.
    """
    version = parse_version(model)
    if effort is None:
        return {"includeThoughts": True} if shown and _thinks_by_default(model, version) else None
    off = effort in ("none", 0)
    if version < (2, 5):
        if off:
            return None
        raise UsageError(f'"{model}" does not support thinking', hint="omit --thinking", reason="thinking")
    config = _disabled_config(model, version) if off else _enabled_config(effort, version)
    return config if off else config | {"includeThoughts": True}


def extra_output_tokens(effort: str | int | None) -> int:
    """Return the tokens that thinking may use of an output limit: Google counts both together."""
    if effort is None:
        return 0
    return effort if isinstance(effort, int) else _BUDGETS.get(effort, 0)


def _thinks_by_default(model: str, version: tuple[int, int]) -> bool:
    """Return whether a model is known to think by default; image, speech and other model families may not."""
    name = model.lower()
    return "gemini" in name and version >= (2, 5) and not any(kind in name for kind in ("image", "tts", "audio"))


def _enabled_config(effort: str | int, version: tuple[int, int]) -> dict[str, Any]:
    if version >= (3, 0):
        return {"thinkingLevel": to_effort_level(effort)}
    return {"thinkingBudget": _BUDGETS.get(effort, effort) if isinstance(effort, str) else effort}


def _disabled_config(model: str, version: tuple[int, int]) -> dict[str, Any]:
    """Return the lowest setting of the model. Since 3.6 the lowest level is rejected but a budget of 0 is accepted."""
    pro = "pro" in model.lower()
    if version < (3, 0):
        return {"thinkingBudget": _MIN_PRO_BUDGET if pro else 0}
    if pro:
        return {"thinkingLevel": "low"}
    return {"thinkingLevel": "minimal"} if version < (3, 6) else {"thinkingBudget": 0}
