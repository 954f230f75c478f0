"""Markdown in the HTML export and the report: rendered, and harmless whoever wrote it."""

from __future__ import annotations

import re

import pytest

from llmctl.formats.markdown_blocks import render_html
from tests.harness import RunInProcess, require_success

TAGS = re.compile(r"<(/?)([a-z0-9]+)((?:\s[^<>]*)?)>")
ALLOWED_TAGS = {
    "a",
    "blockquote",
    "br",
    "code",
    "div",
    "em",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
}
ALLOWED_ATTRIBUTES = re.compile(
    r'( (href="(https?://|mailto:|#|/|[\w.])[^"<>]*"|rel="noopener noreferrer nofollow"|class="(scroll|right|center)"'
    r'|tabindex="0"|start="\d+"))*'
)
ATTACKS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))", "[a](java&#10;script:alert(1))", "[a](&#106;avascript:alert(1))",
    "<javascript:alert(1)>", "[a](vbscript:x)",
    "[a](data:text/html,<script>alert(1)</script>)", "![a](data:image/svg+xml,<svg onload=x>)",
    "![a](https://evil.example/pixel.png)", "![a](javascript:alert(1))", '[a](https://x "t\" onmouseover=alert(1)")',
    '![" onerror=alert(1)](https://x/y.png)', "```\"><script>alert(1)</script>\ncode\n```", "`<script>`",
    "<a href=\"javascript:alert(1)\">x</a>", "<iframe src=//evil>", "<style>*{display:none}</style>", "&lt;script&gt;",
    "| <script> | b |\n|---|---|\n| <img src=x onerror=1> | [x](javascript:1) |", "# <script>", "- <script>\n  - <b>",
    "[x]: javascript:alert(1)\n\n[x]", "<!-- --><script>", "]]><script>", "<https://x/\"onclick=alert(1)>", "file:///etc",
    "[a](file:///etc/passwd)", "**<script>**", "~~<b>~~", "1. <x>", "</article></section><script>",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_a_message_becomes_active(attack: str) -> None:
    page = render_html(attack)
    tags = TAGS.findall(page)
    assert {name for _, name, _ in tags} <= ALLOWED_TAGS
    for _, name, attributes in tags:
        assert ALLOWED_ATTRIBUTES.fullmatch(attributes), (name, attributes)
    assert not re.search(r"<(?!/?[a-z0-9]+[\s>])", page)
    assert not re.search(r'href="\s*(?:java|vb)script|href="(?:data|file):', page, re.IGNORECASE)


def test_markdown_is_rendered() -> None:
    page = render_html("# T\n\n**b** [l](https://x)\n\n- i\n\n| a |\n|--:|\n| 1 |\n\n```py\nx < 1\n```\n")
    assert "<h3>T</h3>" in page
    assert '<strong>b</strong> <a href="https://x" rel="noopener noreferrer nofollow">l</a>' in page
    assert "<li>i</li>" in page
    assert '<th class="right">a</th>' in page
    assert '<pre tabindex="0"><code>x &lt; 1</code></pre>' in page


def test_images_are_links() -> None:
    assert 'href="https://x/y.png"' in render_html("![alt](https://x/y.png)")
    assert "<img" not in render_html("![alt](https://x/y.png) ![alt](data:image/png;base64,AAAA)")


def test_export_and_report_render_messages(llmctl_in_process: RunInProcess) -> None:
    prompt = "**bold** <script>alert(1)</script>"
    require_success(llmctl_in_process("chat", "-m", "echo", "--name", "page", prompt))
    for command in (("export", "--chat", "page", "-f", "html"), ("report",)):
        page = require_success(llmctl_in_process(*command))
        assert page.count("<strong>bold</strong> &lt;script&gt;") == 2
        assert "<script" not in page
