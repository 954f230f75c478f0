"""Results of MCP servers: whatever a server puts into them becomes text and files."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("mcp")

from llmctl.core.errors import RejectedError
from llmctl.tools.mcp import read_result

TEXT = {"type": "text", "text": "see there"}


@pytest.mark.parametrize(
    ("result", "is_error", "text"),
    [
        ({"content": [{"type": "widget", "x": 1}]}, False, '[widget of an unknown type] {"type":"widget","x":1}'),
        ({"content": [{"x": 1}]}, False, '[content of an unknown type] {"x":1}'),
        (
            {"content": [{"type": "text"}, 7, "plain", TEXT]},
            False,
            '[text of an unknown type] {"type":"text"}\n7\nplain\nsee there',
        ),
        ({"content": "plain"}, False, "plain"),
        ({"content": TEXT}, False, "see there"),
        ({"content": None, "structuredContent": {"a": 1}}, False, '{"a":1}'),
        ({}, False, ""),
        ({"content": [TEXT], "isError": "x"}, True, "see there"),
        ({"content": [TEXT], "isError": 1}, True, "see there"),
        ({"content": [TEXT], "isError": "false"}, False, "see there"),
        ({"isError": True}, True, ""),
        ({"content": [TEXT], "isError": True, "structuredContent": {"line": 121}}, True, 'see there\n{"line":121}'),
        ({"content": [TEXT], "structuredContent": ["there", "see"]}, False, "see there"),
        (
            {"content": [{"type": "text", "text": '{"a": "x\\ny"}'}], "structuredContent": {"a": "x\ny"}},
            False,
            '{"a": "x\\ny"}',
        ),
        ({"content": [{"type": "resource", "resource": {"uri": "f:x", "text": "t"}}]}, False, "t"),
        ({"content": [{"type": "resource_link", "uri": "f:x", "name": 3}]}, False, "[3: f:x]"),
        (
            {"content": [{"type": "image", "data": "%", "mimeType": 3}]},
            False,
            "[image, application/octet-stream, empty]",
        ),
        (
            {"content": [{"type": "image", "data": "aaa", "mimeType": "image/png"}]},
            False,
            "[image, image/png, not readable]",
        ),
    ],
)
def test_odd_result_is_text_for_the_model(result: dict[str, Any], is_error: bool, text: str) -> None:
    ran = read_result(result, 10_000)
    assert (ran.content, ran.error is not None, ran.files) == (text, is_error, ())


@pytest.mark.parametrize(
    ("part", "file"),
    [
        ({"type": "image", "data": "QUJD", "mimeType": "image/png"}, ("image/png", b"ABC", "image.png")),
        ({"type": "audio", "data": "QUJD", "mimeType": "audio/wav"}, ("audio/wav", b"ABC", "audio.wav")),
        (
            {
                "type": "resource",
                "resource": {"uri": "file:///a/b%20c.pdf", "blob": "QUJD", "mimeType": "application/pdf"},
            },
            ("application/pdf", b"ABC", "b c.pdf"),
        ),
        (
            {"type": "resource", "resource": {"blob": "QUJD"}},
            ("application/octet-stream", b"ABC", "resource.octet-stream"),
        ),
    ],
)
def test_files_of_a_result_are_kept(part: dict[str, Any], file: tuple[str, bytes, str]) -> None:
    ran = read_result({"content": [TEXT, part], "isError": True}, 10_000)
    assert [(one.media_type, one.data, one.name) for one in ran.files] == [file]
    assert "3 bytes]" in ran.content
    assert ran.error


def test_server_that_asks_for_input_is_a_failure() -> None:
    with pytest.raises(RejectedError, match="asks for input"):
        read_result({"resultType": "input_required", "inputRequests": {}}, 10_000)
