"""What every wire does with an attachment: tell text from the rest, spell bytes as base64, inline a text."""

from __future__ import annotations

import binascii

from llmctl.core.errors import UsageError
from llmctl.core.messages import File

_TEXTUAL = {
    "application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml",
    "application/javascript", "application/x-sh", "application/sql", "application/x-ndjson",
}  # fmt: skip


def kind_of(media_type: str) -> tuple[str, str]:
    """Return type and subtype in lower case, without parameters."""
    kind, _, subtype = media_type.partition(";")[0].strip().lower().partition("/")
    return kind, subtype


def is_text(media_type: str) -> bool:
    """Whether a model can read the file as part of the prompt."""
    kind, subtype = kind_of(media_type)
    return kind == "text" or f"{kind}/{subtype}" in _TEXTUAL or subtype.endswith(("+json", "+xml"))


def text_of(file: File) -> str:
    return data_of(file).decode("utf-8-sig", "replace")


def inlined(file: File) -> str:
    """Return a text file as part of a prompt, with its name."""
    text = text_of(file)
    end = "" if text.endswith("\n") else "\n"
    return f'<file name="{file.name or "attachment"}">\n{text}{end}</file>'


def base64_of(file: File) -> str:
    return binascii.b2a_base64(data_of(file), newline=False).decode("ascii")


def url_of_file(file: File) -> str:
    """Return where the provider finds the file: its address, or itself as a data URL."""
    return file.url or f"data:{file.media_type};base64,{base64_of(file)}"


def data_of(file: File) -> bytes:
    """Return the bytes; raise UsageError where there is an address only."""
    if file.data is None:
        raise UsageError(
            f'this connection takes no {file.media_type} by url: "{file.url}"',
            hint="download it and attach the file",
            reason="attachment",
        )
    return file.data
