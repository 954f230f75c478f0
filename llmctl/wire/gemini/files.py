"""Attachments as parts: by address where Google fetches it, as bytes, or as text.

https://ai.google.dev/gemini-api/docs/file-input-methods
"""

from __future__ import annotations

from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.messages import File
from llmctl.wire.files import base64_of, inlined, is_text, kind_of

#: https://ai.google.dev/gemini-api/docs/image-understanding
_PICTURES = ("png", "jpeg", "jpg", "webp", "heic", "heif", "bmp")


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Say whether a file can be sent: pictures, video and PDF, also by address; sound and text as bytes."""
    kind, subtype = kind_of(media_type)
    if is_text(media_type) or kind == "audio":
        return not by_url
    return kind == "video" or (kind == "image" and subtype in _PICTURES) or subtype == "pdf"


def file_part(file: File) -> dict[str, Any]:
    """Return the part of a file. Raises UsageError for a text that is an address only."""
    if is_text(file.media_type):
        return {"text": inlined(file)}
    kind = "/".join(kind_of(file.media_type)).replace("image/jpg", "image/jpeg")
    if file.data is None and file.url:
        return {"fileData": {"mimeType": kind, "fileUri": file.url}}
    return {"inlineData": {"mimeType": kind, "data": base64_of(file)}}
