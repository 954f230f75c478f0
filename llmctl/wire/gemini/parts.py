"""The parts of an answer and what has to go back with each: told apart when read, put together when sent.

A signature goes back on the very part it came with, or the next request is refused:
https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmctl.core.messages import Text, Thinking, ToolCall
from llmctl.wire.tool_call_compat import arguments_object

#: Mark of thinking that this wire read; what others thought is not sent to Google.
ORIGIN = "gemini"
#: Drawer of a text or a call: the signature of its part.
SIGNATURE = "thought_signature"
#: Drawer of a call: the id that Google gave it; it often gives none.
CALL_ID = "gemini_id"
#: Drawer of what has no words of ours (code that Google ran, a picture in the answer): the part as it came.
PART = "gemini_part"

Json = dict[str, Any]


def thought_metadata(part: Mapping[str, Any]) -> Json:
    """Return the drawer of a part that is thinking, or that can only be kept as it is."""
    if part.get("thought") and "text" in part:
        return {"wire": ORIGIN}
    return {"wire": ORIGIN, PART: {name: value for name, value in part.items() if name != "thoughtSignature"}}


def encode_text(part: Text) -> Json | None:
    """Return a text of the model; an empty one counts when it is signed."""
    signed = _signed(part.metadata)
    return {"text": part.text} | signed if part.text or signed else None


def encode_thinking(part: Thinking) -> Json | None:
    """Return what Google thought, or did, as it came; None for what another provider's model thought."""
    if part.metadata.get("wire") != ORIGIN:
        return None
    kept = part.metadata.get(PART)
    encoded = dict(kept) if isinstance(kept, dict) else {"text": part.text, "thought": True}
    return encoded | ({"thoughtSignature": part.signature} if part.signature else {})


def encode_call(call: ToolCall) -> Json:
    id = call.metadata.get(CALL_ID)
    said = ({"id": id} if id else {}) | {"name": tool_name(call.name), "args": arguments_object(call.arguments)}
    return {"functionCall": said} | _signed(call.metadata)


def tool_name(name: str) -> str:
    """Return the name of an earlier call in the characters that are taken."""
    plain = re.sub(r"[^a-zA-Z0-9_.:-]", "_", name)
    return (plain if re.match("[a-zA-Z_]", plain) else f"_{plain}")[:64]


def _signed(metadata: Mapping[str, Any]) -> Json:
    signature = metadata.get(SIGNATURE) or _compatible_signature(metadata)
    return {"thoughtSignature": signature} if signature else {}


def _compatible_signature(metadata: Mapping[str, Any]) -> Any:
    """Return the signature that came through Google's copy of Chat Completions."""
    extra = metadata.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return google.get("thought_signature") if isinstance(google, dict) else None
