"""Attachments as content blocks: pictures, PDF and plain text."""

from __future__ import annotations

from typing import Any

from llmctl.core.dialect import Dialect
from llmctl.core.errors import UsageError
from llmctl.core.messages import File
from llmctl.wire.files import base64_of, inlined, is_text, kind_of, text_of

_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF = "application/pdf"


def accepts(media_type: str, by_url: bool, dialect: Dialect) -> bool:
    """Say whether a file can be sent: text, PDF and the four kinds of pictures; the latter two also by URL."""
    kind = _plain(media_type)
    return kind in _PICTURES or kind == _PDF or (is_text(media_type) and not by_url)


def file_block(file: File) -> dict[str, Any]:
    """Return the block. Raises UsageError for what the API has none for."""
    kind = _plain(file.media_type)
    if kind in _PICTURES:
        return {"type": "image", "source": _source(file, kind)}
    if kind == _PDF:
        return {"type": "document", "source": _source(file, kind)} | _title(file)
    if not is_text(file.media_type):
        raise UsageError(
            f"this connection takes no {file.media_type}: {file.name or 'attachment'}",
            hint="pictures (jpeg, png, gif, webp), PDF and text can be sent",
            reason="attachment",
        )
    if not (text := text_of(file)).strip():
        return {"type": "text", "text": inlined(file)}  # An empty document is refused.
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}} | _title(file)


def _source(file: File, kind: str) -> dict[str, Any]:
    if file.data is None and file.url:
        return {"type": "url", "url": file.url}
    return {"type": "base64", "media_type": kind, "data": base64_of(file)}


def _title(file: File) -> dict[str, Any]:
    return {"title": file.name[:500]} if file.name else {}


def _plain(media_type: str) -> str:
    return "/".join(kind_of(media_type)).replace("image/jpg", "image/jpeg")
