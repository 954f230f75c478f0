"""Requests as tools: what an argument can make of a URL, a header and a body, and what it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from llmctl.core.errors import LlmctlError
from llmctl.core.http import HttpRequest
from llmctl.core.tools import Tool
from llmctl.tools import Context, builtin, http


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"fine"


def sent(arguments: dict[str, Any], answer: Answer | None = None, **data: Any) -> HttpRequest:
    requests: list[HttpRequest] = []

    def fetch(request: HttpRequest, *, timeout_s: float, most_bytes: int) -> Any:
        requests.append(request)
        return answer or Answer()

    context = Context({}, "/", fetch, secret=lambda text: "s3cret" if text == "env:KEY" else text)
    http.run(Tool("t", "http", data=http.validate_data(data)), arguments, context)
    return requests[0]


def test_arguments_fill_the_url_and_the_rest_is_the_query() -> None:
    request = sent({"city": "Rome/../x?y#z", "days": 2}, url="https://api.example.com/v1/{city}")
    assert request.url == "https://api.example.com/v1/Rome%2F..%2Fx%3Fy%23z?days=2"


def test_a_body_keeps_the_types_of_arguments() -> None:
    body = {"q": "{q}", "n": "{n}", "fixed": "{{x}}"}
    request = sent({"q": 'a"b', "n": 3}, url="https://a.example/x", body=body, headers={"X-Key": "env:KEY"})
    assert (request.method, request.body) == ("POST", b'{"q":"a\\"b","n":3,"fixed":"{x}"}')
    assert request.headers["x-key"] == "s3cret"


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("https://api.example.com/v1/{city}/x", {"city": ".."}),
        ("https://{host}/x", {"host": "evil.example"}),
        ("https://{host}/x", {"host": "api.good.example@evil.example"}),
        ("https://{host}/x", {"host": "evil.example/api.good.example"}),
    ],
)
def test_an_argument_leads_nowhere_else(url: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(LlmctlError):
        sent(arguments, url=url, hosts=["*.good.example"])


def test_an_argument_makes_no_second_header() -> None:
    with pytest.raises(LlmctlError, match="header"):
        sent({"a": "x\r\nHost: evil"}, url="https://a.example/", headers={"X-A": "{a}"})


@pytest.mark.parametrize(("status", "code"), [(404, "rejected"), (429, "unavailable"), (503, "unavailable")])
def test_a_refusal_is_a_failure(status: int, code: str) -> None:
    with pytest.raises(LlmctlError) as caught:
        sent({}, Answer(status, body=b"no"), url="https://a.example/")
    assert caught.value.code == code
    assert f"status {status}: no" in caught.value.message


@pytest.mark.parametrize(
    ("url", "hosts", "reached"),
    [
        ("https://a.example/x", ["a.example"], True),
        ("https://b.a.example/x", ["*.a.example"], True),
        ("https://a.example/x", [], False),
        ("https://a.example.evil.org/x", ["a.example"], False),
        ("https://a.example@evil.org/x", ["a.example"], False),
        ("https://evil.org\\@a.example/x", ["a.example"], False),
        ("file:///etc/passwd", ["*"], False),
        ("https://a.example:x/", ["*"], False),
    ],
)
def test_fetch_url_is_limited_to_its_hosts(url: str, hosts: list[str], reached: bool) -> None:
    context = Context({}, "/", cast(Any, lambda request, **_: Answer()))
    tool = Tool("f", "builtin", data={"builtin": "fetch_url", "hosts": hosts})
    if reached:
        assert builtin.run(tool, {"url": url}, context).content == "fine"
        offline = replace(context, reaches=lambda host: False)
        with pytest.raises(LlmctlError, match="offline"):
            builtin.run(tool, {"url": url}, offline)
    else:
        with pytest.raises(LlmctlError):
            builtin.run(tool, {"url": url}, context)


@pytest.mark.parametrize(
    ("commands", "line", "runs"),
    [
        (["echo"], "echo hi", True),
        (["echo"], "/bin/echo hi", False),
        (["echo h*"], "echo hi", True),
        (["echo h*"], "echo no", False),
        ([], "echo hi", False),
        (["echo"], "echo hi; touch x", True),
        (["echo"], "touch x", False),
        (["echo"], "echo 'open", False),
    ],
)
def test_run_command_is_limited_to_its_commands(tmp_path: Any, commands: list[str], line: str, runs: bool) -> None:
    context = Context({"PATH": "/usr/bin:/bin"}, str(tmp_path), cast(Any, lambda request, **_: Answer()))
    tool = Tool("r", "builtin", data={"builtin": "run_command", "commands": commands})
    if runs:
        assert builtin.run(tool, {"command": line}, context).content == line.removeprefix("echo ")
    else:
        with pytest.raises(LlmctlError):
            builtin.run(tool, {"command": line}, context)
    assert not list(tmp_path.iterdir())
