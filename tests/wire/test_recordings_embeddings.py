"""Recorded embeddings and pictures of OpenAI and the hosts that copy it, through the real transport."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from typing import Any

import pytest

from llmctl.core.chat import File
from llmctl.core.errors import LlmctlError, NotFoundError, RejectedError
from llmctl.core.http import Dialect, Endpoint
from llmctl.core.single_requests import EmbedRequest, EmbedResponse, ImageRequest
from llmctl.transport import client
from llmctl.wire import WIRES
from tests.wire import recordings
from tests.wire.recordings import Exchange

pytestmark = recordings.needs_recordings

EXCHANGES = recordings.load_exchanges("openai-embeddings")
PICTURES = recordings.load_exchanges("openai-images")
EMBEDDINGS = WIRES.load("openai-chat").embeddings
IMAGES = WIRES.load("openai-responses").images


def asked_of(exchange: Exchange) -> EmbedRequest:
    body = exchange["request"]["json"]
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    options = {name: value for name, value in body.items() if name not in ("model", "input")}
    return EmbedRequest(body["model"], tuple(texts), options)


def embed(server: str, exchange: Exchange) -> EmbedResponse | LlmctlError:
    assert EMBEDDINGS
    asked = asked_of(exchange)
    endpoint = Endpoint(f"{server}/id/{exchange['id']}")
    with client.send_request(EMBEDDINGS.build_request(endpoint, asked), loopback_only=True) as answer:
        body = answer.read()
        if answer.status >= 400:
            return WIRES.load("openai-chat").parse_error(answer.status, answer.headers, body)
        return EMBEDDINGS.parse_response(body, asked)


def expected_vector(value: Any, provider: str) -> list[float]:
    if isinstance(value, list):
        return [float(number) for number in value]
    data = b64decode(value)
    layout = f"{len(data)}b" if provider == "perplexity" else f"<{len(data) // 4}f"
    return [float(number) for number in struct.unpack(layout, data)]


@pytest.mark.parametrize("provider", recordings.list_providers(EXCHANGES))
def test_recorded_embeddings_are_read_whole(server: str, provider: str) -> None:
    for exchange in EXCHANGES:
        if exchange["provider"] != provider:
            continue
        found = embed(server, exchange)
        if exchange["response"]["status"] >= 400:
            assert isinstance(found, NotFoundError | RejectedError)
            assert found.status_code == exchange["response"]["status"]
            continue
        assert isinstance(found, EmbedResponse)
        answer = json.loads(exchange["response"]["body"])
        wanted = [expected_vector(row["embedding"], provider) for row in answer["data"]]
        assert [list(vector) for vector in found.vectors] == wanted
        assert found.model == answer["model"]
        assert found.usage is not None
        assert found.usage.input_tokens == answer["usage"]["prompt_tokens"]
        cost = answer["usage"].get("cost")
        assert found.usage.cost == (cost["total_cost"] if isinstance(cost, dict) else cost)


def test_recorded_request_for_embeddings_is_ours() -> None:
    assert EMBEDDINGS
    for exchange in EXCHANGES:
        built = EMBEDDINGS.build_request(Endpoint("http://localhost/v1", dialect=Dialect()), asked_of(exchange))
        theirs = exchange["request"]["json"]
        wanted = theirs | {"input": [theirs["input"]] if isinstance(theirs["input"], str) else theirs["input"]}
        assert json.loads(built.body) == wanted
        assert exchange["request"]["url"].endswith("/embeddings")


def test_recorded_pictures_are_read() -> None:
    assert IMAGES
    for exchange in PICTURES:
        body, asked = exchange["response"]["body"].encode(), exchange["request"]["json"]
        if exchange["response"]["status"] >= 400:
            error = WIRES.load("openai-responses").parse_error(400, {}, body)
            assert (type(error), error.reason) == (RejectedError, "invalid_request")
        else:
            found = IMAGES.parse_response(body)
            answer = json.loads(body)
            assert [image.url for image in found.images] == [row["url"] for row in answer["data"]]
            assert found.revised_prompt == answer["data"][0].get("revised_prompt")
            ticks = answer.get("usage", {}).get("cost_in_usd_ticks")
            assert found.usage is not None
            assert found.usage.cost == (ticks and pytest.approx(ticks * 1e-10))
        dialect = Dialect(image_edits="json" if exchange["provider"] == "xai" else "form")
        urls = [image.get("image_url") or image["url"] for image in asked.get("images", [])]
        options = {name: value for name, value in asked.items() if name not in ("model", "prompt", "images")}
        files = tuple(File("image/png", url=url) for url in urls)
        request = ImageRequest(asked["model"], asked["prompt"], files, options)
        built = IMAGES.build_request(Endpoint("http://localhost/v1", dialect=dialect), request)
        assert json.loads(built.body) == asked
        assert exchange["request"]["url"].endswith(built.url.removeprefix("http://localhost"))
