"""Official clients through the proxy: what they send and what they get is what it is without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.test_proxy import running
from tests.fakes.hosts import HOSTS
from tests.fakes.openai_server import FakeServer, Request, refusal
from tests.harness import Llmctl, query

pytestmark = pytest.mark.slow

#: What differs from call to call, and what belongs to one hop.
_OWN_HEADERS = {"host", "connection", "x-stainless-read-timeout", "idempotency-key"}


def talk_openai(base: str, stream: bool) -> Any:
    import openai

    client = openai.OpenAI(api_key="sk-test-0123456789abcdef", base_url=f"{base}/v1", max_retries=0)
    messages: Any = [{"role": "system", "content": "terse"}, {"role": "user", "content": "höllo"}]
    answer = client.chat.completions.create(model="fake-1", messages=messages, stream=stream)
    if not stream:
        return answer.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def talk_responses(base: str, stream: bool) -> Any:
    import openai

    client = openai.OpenAI(api_key="sk-test-0123456789abcdef", base_url=f"{base}/v1", max_retries=0)
    if not stream:
        return client.responses.create(model="gpt-5", input="hello").output_text
    events = client.responses.create(model="gpt-5", input="hello", stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def talk_anthropic(base: str, stream: bool) -> Any:
    import anthropic

    client = anthropic.Anthropic(api_key="sk-ant-test-0123456789", base_url=base, max_retries=0)
    arguments: Any = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    if not stream:
        return client.messages.create(**arguments).content[0].text
    with client.messages.stream(**arguments) as answer:
        return "".join(answer.text_stream)


def talk_gemini(base: str, stream: bool) -> Any:
    from google import genai

    client = genai.Client(api_key="AIzaTest0123456789", http_options={"base_url": base})
    if not stream:
        return client.models.generate_content(model="gemini-2.5-flash", contents="hello").text
    return "".join(
        chunk.text or "" for chunk in client.models.generate_content_stream(model="gemini-2.5-flash", contents="hello")
    )


CLIENTS = {
    "openai-chat": talk_openai,
    "openai-responses": talk_responses,
    "anthropic": talk_anthropic,
    "gemini": talk_gemini,
}


def sent(request: Request) -> tuple[Any, ...]:
    headers = {name: value for name, value in request.headers.items() if name not in _OWN_HEADERS}
    return request.method, request.path, headers, request.body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", CLIENTS)
def test_client_sends_and_gets_the_same(llmctl: Llmctl, env: dict[str, str], wire: str, stream: bool) -> None:
    client: Callable[[str, bool], Any] = CLIENTS[wire]
    host = HOSTS[wire]
    answer = host.streamed("hello there") if stream else host.whole("hello there")
    with FakeServer() as server:
        server.answer(answer, answer)
        behind = llmctl.with_env(GOOGLE_GEMINI_BASE_URL=server.url.removesuffix("/v1"))
        direct = client(server.url.removesuffix("/v1"), stream)
        with running(behind, server) as proxy:
            proxied = client(f"http://127.0.0.1:{proxy.port}", stream)
        first, second = map(sent, server.requests)
    assert proxied == direct == "hello there"
    assert first[:2] == second[:2]
    assert first[3] == second[3]
    changed = {name for name in first[2].keys() | second[2].keys() if first[2].get(name) != second[2].get(name)}
    assert changed <= {"accept-encoding"}
    assert query(env, "SELECT content FROM messages WHERE role = 'assistant'") == [("hello there",)]
    ((status, tokens),) = query(env, "SELECT status, input_tokens FROM requests")
    assert status == "completed"
    assert tokens > 0


def test_client_sees_the_provider_s_error(llmctl: Llmctl) -> None:
    import openai

    with FakeServer() as server, running(llmctl, server) as proxy:
        server.answer(refusal(429, "slow down", {"retry-after": "7"}))
        client = openai.OpenAI(api_key="sk-x-0123456789", base_url=f"http://127.0.0.1:{proxy.port}/v1", max_retries=0)
        with pytest.raises(openai.RateLimitError, match="slow down") as raised:
            client.models.list()
        assert raised.value.response.headers["retry-after"] == "7"
