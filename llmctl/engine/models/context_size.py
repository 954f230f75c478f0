"""Compare a long prompt with the context of its model, before it is sent: nothing is cut silently to make it fit.

Loaded only for long prompts: what is known of models takes half a second to load.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmctl.core.chat import ChatRequest, File, Text, Thinking, ToolCall, ToolResult
from llmctl.core.errors import RejectedError
from llmctl.engine.models import capabilities

#: Characters of a token of ordinary English: https://platform.openai.com/tokenizer
_CHARS_PER_TOKEN = 4


def check_context_size(request: ChatRequest, provider: str) -> str | None:
    """Return a notice about a prompt that probably exceeds the context of its model, or None.

    Raises RejectedError (``context_length``) where it certainly does: no token has more than one word.
    """
    model = capabilities.find(provider, request.model)
    if model is None or model.context_tokens is None:
        return None
    texts = list(_iterate_texts(request))
    least = sum(len(text.split()) for text in texts)
    if least > model.context_tokens:
        raise RejectedError(
            f'the prompt has more than {least:,} tokens, but "{request.model}" takes {model.context_tokens:,}',
            hint="shorten it, send fewer turns with --history N, or choose another model with -m",
            reason="context_length",
        )
    about = max(sum(map(len, texts)) // _CHARS_PER_TOKEN, least)
    if about <= model.context_tokens:
        return None
    return f'the prompt has about {about:,} tokens; "{request.model}" takes {model.context_tokens:,}'


def _iterate_texts(request: ChatRequest) -> Iterator[str | bytes]:
    from llmctl.core.media_types import is_text

    for part in (part for message in request.messages for part in message.parts):
        match part:
            case Text(text) | Thinking(text):
                yield text
            case ToolCall():
                yield part.arguments
            case ToolResult():
                yield part.content
            case File() if part.data and is_text(part.media_type):
                yield part.data
