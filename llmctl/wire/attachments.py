"""Encode attachments: split media types, base64, inlined text; shared by all wires."""

from __future__ import annotations

import binascii

from llmctl.core.errors import UsageError
from llmctl.core.messages import File


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
            hint="download it and attach the file",
            reason="attachment",
        )
    return file.data
