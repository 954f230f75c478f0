"""What a request may come to, held against what providers counted."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from llmctl.core.chat import File
from llmctl.engine.models import rates
from tests.wire import recordings

_OTHERS = {"web-search", "server-tool", "code-execution"}


def test_output_is_bounded_by_the_limit_that_is_sent_or_the_models_own() -> None:
    assert rates.max_output_tokens(b'{"messages":[],"max_completion_tokens":500,"n":2}', 128_000, 16_384) == 1000
    assert rates.max_output_tokens(b'{"generationConfig":{"maxOutputTokens":7}}', None, None) == 7
    assert rates.max_output_tokens(b"{}", 1_000_000, 16_384) == 16_384
    assert rates.max_output_tokens(b"{}", 8_192, None) == 8_192
    assert rates.max_output_tokens(b"{}", None, None) == rates.MAX_OUTPUT_TOKENS


def test_input_is_bounded_by_bytes_files_and_window() -> None:
    assert rates.max_input_tokens(b"x" * 500, [], 1_000_000) >= 500
    assert rates.max_input_tokens(b"x" * 300_000, [], 128_000) == 128_000
    assert rates.max_input_tokens(b"", [File("image/png", b"x")], None) > 48_000
    assert rates.max_input_tokens(b"", [File("audio/wav", b"x" * 9_000)], None) >= 9_000


def test_options_that_let_others_add_tokens_are_named() -> None:
    assert rates.find_unbounded_option({"temperature": 0, "web_search_options": {"n": 1}}) == "web_search_options"
    assert rates.find_unbounded_option({"temperature": 0, "tools": None}) is None


@recordings.needs_recordings
@pytest.mark.parametrize("api", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"])
def test_no_recorded_request_came_to_more(api: str) -> None:
    checked = 0
    for exchange in recordings.load_exchanges(api):
        asked = exchange["request"]["json"]
        if asked is None or set(exchange["features"]) & _OTHERS or rates.find_unbounded_option(_hosted(asked)):
            continue
        if "compound" in str(asked.get("model")):  # searches by itself
            continue
        files: list[File] = []
        sent = json.dumps(_without_files(asked, files), ensure_ascii=False, separators=(",", ":")).encode()
        counts = re.findall(
            r'"(?:prompt_tokens|input_tokens|promptTokenCount)"\s*:\s*(\d+)', exchange["response"]["body"]
        )
        checked += bool(counts)
        assert max(map(int, counts), default=0) <= rates.max_input_tokens(sent, files, None), exchange["id"]
    assert checked > 20


def _hosted(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what options would have to say: tools of the provider's own, and what leads to its stores."""
    tools = [tool for tool in asked.get("tools") or () if isinstance(tool, dict) and not _is_function(tool)]
    return {name: value for name, value in asked.items() if name != "tools"} | {"tools": tools}


def _is_function(tool: dict[str, Any]) -> bool:
    return bool({"function", "input_schema", "functionDeclarations", "function_declarations"} & set(tool)) or (
        tool.get("type") == "function"
    )


def _without_files(value: Any, files: list[File]) -> Any:
    """Take files out of a body, as the kept one has them."""
    if isinstance(value, dict):
        media = value.get("media_type") or value.get("mimeType") or value.get("mime_type")
        if media and any(name in value for name in ("data", "fileUri", "file_uri")):
            files.append(File(str(media), str(value["data"]).encode() if "data" in value else None))
            return {}
        return {name: _without_files(inner, files) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_files(inner, files) for inner in value]
    if isinstance(value, str) and (data := re.match(r"data:([\w/+.-]+);base64,", value)):
        files.append(File(data[1], value.encode()))
        return ""
    if isinstance(value, str) and re.match(r"https?://\S+\.(png|jpe?g|webp|gif)", value):
        files.append(File("image/png", None, value))
    return value
