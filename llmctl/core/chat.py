"""The values of a chat, in no provider's words: messages and their parts, a request, the events of a response."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

from llmctl.core.values import Value

Role = Literal["system", "user", "assistant", "tool"]

#: Metadata key of a message that an imported source hides: it is kept in the thread, but neither shown nor sent.
HIDDEN_KEY = "hidden"
#: Metadata key of a :class:`File`: the URL that it was fetched from.
SOURCE_URL_KEY = "source"


class Text(Value):
    text: str
    metadata: Mapping[str, Any] = {}


class Thinking(Value):
    """Reasoning of a model; ``signature`` proves it to the provider that produced it."""

    text: str
    signature: str | None = None
    metadata: Mapping[str, Any] = {}


class ToolCall(Value):
    """A tool call that the model requests. ``arguments`` is the JSON text as received, valid or not."""

    id: str
    name: str
    arguments: str
    metadata: Mapping[str, Any] = {}


class ToolResult(Value):
    """The result of a tool call; ``content`` is text for the model."""

    call_id: str
    name: str
    content: str
    is_error: bool = False
    metadata: Mapping[str, Any] = {}


class File(Value):
    """An attachment: bytes, or a URL that the provider fetches itself."""

    media_type: str
    data: bytes | None = None
    url: str | None = None
    name: str | None = None
    metadata: Mapping[str, Any] = {}


Part = Text | Thinking | ToolCall | ToolResult | File


class Message(Value):
    role: Role
    parts: tuple[Part, ...]
    #: Data besides the parts that a provider may expect back (citations, reasoning details).
    metadata: Mapping[str, Any] = {}

    @classmethod
    def from_text(cls, role: Role, text: str) -> Message:
        return cls(role, (Text(text),))

    @property
    def text(self) -> str:
        """The text of all parts: an answer's in one piece, as it came; others are separate texts."""
        texts = [part.text for part in self.parts if isinstance(part, Text)]
        if len(texts) > 1:
            return _join_answer(self.parts) if self.role == "assistant" else "\n\n".join(filter(None, texts))
        return texts[0] if texts else ""

    @property
    def stored_text(self) -> str:
        """The text and the tool results, as stored for reading and searching."""
        results = [part.content for part in self.parts if isinstance(part, ToolResult)]
        return "\n".join(filter(None, (self.text, *results)))

    @property
    def thinking(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


def _join_answer(parts: Iterable[Part]) -> str:
    """Return the text of an answer; what a tool call, or a run of the provider's own tool, divides stays apart."""
    text = ""
    is_divided = False
    for part in parts:
        if isinstance(part, Text):
            if is_divided and text and part.text and not (text[-1].isspace() or part.text[0].isspace()):
                text += "\n\n"
            text += part.text
            is_divided = is_divided and not part.text
        elif isinstance(part, ToolCall) or (isinstance(part, Thinking) and part.metadata and not part.text):
            is_divided = True
    return text


_TYPES: dict[str, type[Any]] = {
    "text": Text,
    "thinking": Thinking,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}


def parts_to_json(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return the parts as JSON objects without empty fields.

    Files are omitted: their bytes are stored in ``attachments``.
    """
    return [
        {"type": _NAMES[type(part)]} | {name: value for name, value in part.to_dict().items() if value}
        for part in parts
        if not isinstance(part, File)
    ]


def parts_from_json(items: Iterable[Mapping[str, Any]]) -> tuple[Part, ...]:
    """Return the parts that :func:`to_json` wrote; unknown types and fields are ignored."""
    return tuple(_parse_part(item) for item in items if item.get("type") in _TYPES)


def _parse_part(item: Mapping[str, Any]) -> Part:
    kind = _TYPES[item["type"]]
    defaults = {name: "" for name in kind._fields if name not in ("metadata", "signature", "is_error")}
    part: Part = kind(**defaults | {name: item[name] for name in kind._fields if name in item})
    return part


def tag_text_file(name: str | None, text: str) -> str:
    """Return a text file as part of a prompt, tagged with its name."""
    end = "" if text.endswith("\n") else "\n"
    return f'<file name="{name or "attachment"}">\n{text}{end}</file>'


class ToolSpec(Value):
    """A tool as the model sees it; ``parameters`` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


def match_tool_name(name: str, known: Collection[str]) -> str:
    """Return the known tool that a model means by a name, or the name itself.

    Models write the namespace or the tokens of their prompt template around it: ``functions.NAME``,
    ``default_api:NAME``, ``NAME<|channel|>commentary``.
    """
    if not known or name in known:
        return name
    import re  # rare

    words = re.split(r"[.:/\s]+|<\|", name)
    return next((word for word in reversed(words) if word in known), name)


class ChatRequest(Value):
    """A complete request in provider-neutral form."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = True
    #: The user's model options (temperature, max_tokens, ...), under the names users type.
    options: Mapping[str, Any] = {}
    tools: tuple[ToolSpec, ...] = ()
    #: ``none``, ``low``, ``medium``, ``high`` or a number of tokens; None: the provider's default.
    thinking: str | int | None = None
    #: The thinking will be shown: some providers only return its text on request.
    shows_thinking: bool = False
    #: JSON Schema that the answer must match.
    schema: Mapping[str, Any] | None = None


class Usage(Value):
    """Tokens of one request. ``input_tokens`` counts cached ones too, ``output_tokens`` counts thinking."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    #: US dollars, if the provider reports its charge.
    cost: float | None = None
    #: Units with their own prices. Included in the counts above: ``cache_write_1h_tokens``,
    #: ``input_audio_tokens``, ``output_audio_tokens``, ``cached_audio_tokens``, ``input_image_tokens``,
    #: ``output_image_tokens``, ``cached_image_tokens``; in addition: ``web_searches``, ``images``, ``audio_seconds``.
    details: Mapping[str, float] = {}
    #: The tier that the provider used, which may not be the requested one; None if it does not say.
    service_tier: str | None = None
    #: The side that was not counted: ``input`` or ``output``. Its number above is 0 and means nothing.
    unknown: str | None = None

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class ResponseStart(Value):
    """The model that answers, and the response id. May be repeated; later values replace earlier ones."""

    model: str | None = None
    response_id: str | None = None


class TextDelta(Value):
    """A piece of the answer. Consecutive pieces without an index form a part, as do pieces of the same ``index``.

    An index marks text that a provider expects back as a separate part, with its ``metadata``.
    """

    text: str
    index: int | None = None
    metadata: Mapping[str, Any] = {}


class ThinkingDelta(Value):
    """A piece of thinking. Pieces of one ``index`` form a part; a signature may arrive without text."""

    text: str = ""
    signature: str | None = None
    index: int = 0
    metadata: Mapping[str, Any] = {}


class ToolCallDelta(Value):
    """A piece of a tool call: ``id`` and ``name``, and ``arguments`` (JSON text) in any number of pieces.

    A later id or name replaces an earlier one. With ``replaces``, so do the arguments: some hosts send placeholders,
    snapshots or corrections.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    metadata: Mapping[str, Any] = {}
    replaces: bool = False


class MessageMetadata(Value):
    """Data of the message that belongs to no part: citations, search results, reasoning details."""

    data: Mapping[str, Any]


class UsageReport(Value):
    """The tokens so far. Cumulative: the last report counts."""

    usage: Usage


class Unreadable(Value):
    """An event that could not be decoded. Reading continues, but the answer counts as incomplete."""

    detail: str


class Finish(Value):
    """The answer is complete: the terminal event arrived. Without it the stream was cut.

    ``reason`` is one of ``stop``, ``length``, ``tool_calls``, ``content_filter``, ``incomplete`` (the provider
    reports that the answer is not complete), ``other``; ``raw`` is the provider's own value.
    """

    reason: str
    raw: str | None = None


StreamEvent = (
    TextDelta | ThinkingDelta | ToolCallDelta | ResponseStart | MessageMetadata | UsageReport | Unreadable | Finish
)


class ChatResponse(Value):
    """A response. ``finish_reason`` is None if the terminal event never arrived."""

    message: Message
    usage: Usage | None = None
    finish_reason: str | None = None
    raw_finish_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    unreadable: tuple[str, ...] = ()


class ResponseBuilder:
    """Builds a response event by event; the response so far can be read at any time.

    ``tool_names`` are those that the model knows: a call that puts something around one is a call of that tool.
    """

    def __init__(self, tool_names: Collection[str] = ()) -> None:
        self._tool_names = tool_names
        self._blocks: dict[tuple[str, int], dict[str, Any]] = {}
        self._text_run = 0
        self._metadata: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._start = ResponseStart()
        self._unreadable: list[str] = []

    def add(self, event: StreamEvent) -> None:
        match event:
            case TextDelta():
                self._add_text(event)
            case ThinkingDelta():
                self._add_thinking(event)
            case ToolCallDelta():
                self._add_tool_call(event)
            case UsageReport(usage):
                self._usage = usage
            case Finish():
                self._finish = event
            case ResponseStart(model, response_id):
                self._start = ResponseStart(model or self._start.model, response_id or self._start.response_id)
            case MessageMetadata(data):
                self._metadata |= data
            case Unreadable(detail):
                self._unreadable.append(detail)

    def build(self) -> ChatResponse:
        parts = (part for block in self._blocks.items() if (part := _build_part(*block)) is not None)
        return ChatResponse(
            message=Message("assistant", tuple(_with_distinct_ids(parts)), self._metadata),
            usage=self._usage,
            finish_reason=self._finish.reason if self._finish else None,
            raw_finish_reason=self._finish.raw if self._finish else None,
            model=self._start.model,
            response_id=self._start.response_id,
            unreadable=tuple(self._unreadable),
        )

    def _add_text(self, event: TextDelta) -> None:
        key = ("text", self._current_text_run()) if event.index is None else ("own text", event.index)
        block = self._blocks.setdefault(key, {"pieces": [], "metadata": {}})
        block["pieces"].append(event.text)
        if event.metadata:
            block["metadata"] |= event.metadata

    def _current_text_run(self) -> int:
        # Text between two tool calls is a separate part; text after text is the same part.
        last = next(reversed(self._blocks), None)
        if last is None or last[0] != "text":
            self._text_run += 1
        return self._text_run

    def _add_thinking(self, event: ThinkingDelta) -> None:
        block = self._blocks.setdefault(("thinking", event.index), {"pieces": [], "signature": None, "metadata": {}})
        block["pieces"].append(event.text)
        block["signature"] = event.signature or block["signature"]
        block["metadata"] |= event.metadata

    def _add_tool_call(self, event: ToolCallDelta) -> None:
        block = self._blocks.setdefault(
            ("tool_call", event.index), {"id": "", "name": "", "pieces": [], "metadata": {}}
        )
        block["id"] = event.id or block["id"]
        block["name"] = match_tool_name(event.name, self._tool_names) if event.name else block["name"]
        if event.replaces:
            block["pieces"].clear()
        block["pieces"].append(event.arguments)
        block["metadata"] |= event.metadata


def _with_distinct_ids(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts; if a model used the id of a tool call twice, the later call gets a suffix.

    Each call needs an id of its own to be matched with its result.
    """
    taken: set[str] = set()
    for part in parts:
        if isinstance(part, ToolCall):
            number, id = 1, part.id
            while id in taken:
                number += 1
                id = f"{part.id}#{number}"
            taken.add(id)
            if id != part.id:
                part = part.replace(id=id, metadata={**part.metadata, "provider_id": part.id})
        yield part


def _build_part(key: tuple[str, int], block: dict[str, Any]) -> Part | None:
    text = "".join(block["pieces"])
    match key[0]:
        case "text" | "own text":
            return Text(text, block["metadata"]) if text or block["metadata"] else None
        case "thinking":
            has_content = text or block["signature"] or block["metadata"]
            return Thinking(text, block["signature"], block["metadata"]) if has_content else None
        case _:
            # Without an id a call and its result cannot be matched.
            return ToolCall(block["id"] or f"call_{key[1]}", block["name"], text or "{}", block["metadata"])


def collect_response(events: Iterable[StreamEvent]) -> ChatResponse:
    """Return the response that the events make."""
    builder = ResponseBuilder()
    for event in events:
        builder.add(event)
    return builder.build()


#: Splits a text into the part to emit now and the tail to hold back.
SplitText = Callable[[str], tuple[str, str]]

TextEvent = TextDelta | ThinkingDelta | ToolCallDelta


def buffer_incomplete_tail(
    events: Iterable[StreamEvent], split: SplitText, finish_tail: Callable[[str], str]
) -> Iterator[StreamEvent]:
    """Yield the events, holding back the tail that ``split`` returns until the next event of the same part.

    A tail that nothing follows is emitted as ``finish_tail(tail)``.
    """
    held: TextEvent | None = None
    for event in events:
        if held is not None:
            if isinstance(event, TextEvent) and _continues(held, event):
                event = _with_text(event, _event_text(held) + _event_text(event))
            else:
                yield _with_text(held, finish_tail(_event_text(held)))
            held = None
        if isinstance(event, TextEvent):
            before = _event_text(event)
            text, end = split(before)
            if end:
                held = _text_only(event, end)
                if not text and _has_only_text(event):
                    continue
            event = event if text == before else _with_text(event, text)
        yield event
    if held is not None:
        yield _with_text(held, finish_tail(_event_text(held)))


def _event_text(event: TextEvent) -> str:
    return event.arguments if isinstance(event, ToolCallDelta) else event.text


def _with_text(event: TextEvent, text: str) -> TextEvent:
    return event.replace(arguments=text) if isinstance(event, ToolCallDelta) else event.replace(text=text)


def _text_only(event: TextEvent, text: str) -> TextEvent:
    """Return an event with only that text: id, name and signature are not held back."""
    if isinstance(event, TextDelta):
        return TextDelta(text, index=event.index)
    if isinstance(event, ThinkingDelta):
        return ThinkingDelta(text, index=event.index)
    return ToolCallDelta(event.index, arguments=text)


def _has_only_text(event: TextEvent) -> bool:
    """Return whether an event carries nothing but its text."""
    return event == _text_only(event, _event_text(event))


def _continues(held: TextEvent, event: TextEvent) -> bool:
    return type(held) is type(event) and held.index == event.index and not getattr(event, "replaces", False)
