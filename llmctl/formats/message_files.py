"""Read the files in a message of OpenAI's Chat Completions format: pictures, documents and sound.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from llmctl.core.chat import File
from llmctl.core.media_types import UNKNOWN, detect, guess_from_name


def read_file_part(kind: str, value: Mapping[str, Any]) -> File | None:
    """Return the file of a part ``image_url``, ``file`` or ``input_audio``; None if it has no content or address."""
    name = value.get("filename")
    name = name if isinstance(name, str) else None
    match kind:
        case "image_url" if isinstance(url := value.get("url"), str):
            return _read_url(url, name)
        case "file" if isinstance(url := value.get("file_data"), str):
            return _read_url(url, name)
        case "input_audio" if isinstance(data := value.get("data"), str):
            return _read_base64(data, name, f"audio/{value.get('format') or 'wav'}")
    return None


def _read_url(url: str, name: str | None) -> File | None:
    if url.startswith(("https://", "http://")):
        media_type = guess_from_name(url)
        return File("image/jpeg" if media_type == UNKNOWN else media_type, url=url, name=name)
    if not url.startswith("data:"):
        return None
    media_type, _, data = url[5:].partition(";base64,")
    return _read_base64(data, name, media_type)


def _read_base64(data: str, name: str | None, media_type: str) -> File | None:
    try:
        content = b64decode(data, validate=True)
    except ValueError:
        return None
    return File(detect(name or "", content, media_type), data=content, name=name) if content else None
