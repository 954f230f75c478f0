"""What Google has beside chat: the list of models, embeddings, pictures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmctl.core.chat import File, Usage
from llmctl.core.errors import ConfigError, LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Endpoint
from llmctl.core.single_requests import EmbedRequest, ImageRequest
from llmctl.providers import PROVIDERS
from llmctl.wire import WIRES

WIRE = WIRES.load("gemini")
STUDIO = Endpoint("https://h.example/v1beta", {"x-goog-api-key": "k"})
PROJECT = "https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global"
VERTEX = Endpoint(PROJECT, {"Authorization": "Bearer t"}, dialect=PROVIDERS.load("vertex").dialect)
assert WIRE.embeddings
assert WIRE.images
EMBED, DRAW = WIRE.embeddings, WIRE.images
BAD_KEY = {"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


# ---------------------------------------------------------------- models


def test_models_are_asked_for_in_one_page() -> None:
    request = WIRE.build_models_request(STUDIO)
    assert (request.method, request.url) == ("GET", "https://h.example/v1beta/models?pageSize=1000")
    assert request.headers["x-goog-api-key"] == "k"


def test_models_of_vertex_stand_beside_its_projects() -> None:
    url = "https://aiplatform.googleapis.com/v1beta1/publishers/google/models"
    assert WIRE.build_models_request(VERTEX).url == url


def test_models_are_read_in_our_words() -> None:
    chat = {
        "name": "models/gemini-x",
        "displayName": "Gemini X",
        "inputTokenLimit": 1000,
        "outputTokenLimit": 10,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
    embedding = {"name": "models/gemini-embedding-2", "supportedGenerationMethods": ["embedContent"]}
    assert WIRE.parse_models(encoded({"models": [chat, embedding], "nextPageToken": "x"})) == [
        {"id": "gemini-x", "name": "Gemini X", "context_tokens": 1000, "max_output_tokens": 10, "type": "chat"},
        {"id": "gemini-embedding-2", "type": "embedding"},
    ]
    published = {"publisherModels": [{"name": "publishers/google/models/gemini-x", "versionId": "1"}]}
    assert WIRE.parse_models(encoded(published)) == [{"id": "gemini-x"}]
    assert WIRE.parse_models(b"{}") == []


def test_models_of_a_bad_key_are_an_error() -> None:
    with pytest.raises(ConfigError, match="not valid"):
        WIRE.parse_models(encoded(BAD_KEY))


# ---------------------------------------------------------------- embeddings


def test_texts_are_embedded_in_one_batch() -> None:
    wish = EmbedRequest("gemini-embedding-001", ("a", "b"), {"dimensions": 3, "taskType": "RETRIEVAL_QUERY"})
    request = EMBED.build_request(STUDIO, wish)
    common = {"model": "models/gemini-embedding-001", "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 3}
    assert request.url == "https://h.example/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert json.loads(request.body) == {
        "requests": [common | {"content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    }
    answer = {"embeddings": [{"values": [1, 0.5]}, {"values": [0]}], "usageMetadata": {"promptTokenCount": 4}}
    found = EMBED.parse_response(encoded(answer), wish)
    assert found.vectors == ((1.0, 0.5), (0.0,))
    assert found.usage == Usage(input_tokens=4)


def test_vertex_predicts_embeddings() -> None:
    wish = EmbedRequest("text-embedding-005", ("a",), {"dimensions": 3, "task_type": "CLUSTERING"})
    request = EMBED.build_request(VERTEX, wish)
    assert request.url == f"{PROJECT}/publishers/google/models/text-embedding-005:predict"
    assert json.loads(request.body) == {
        "instances": [{"content": "a", "task_type": "CLUSTERING"}],
        "parameters": {"outputDimensionality": 3},
    }
    row = {"embeddings": {"values": [0.5], "statistics": {"token_count": 2, "truncated": False}}}
    found = EMBED.parse_response(encoded({"predictions": [row]}), wish)
    assert (found.vectors, found.usage) == (((0.5,),), Usage(input_tokens=2))


def test_single_embedding_is_read() -> None:
    assert EMBED.parse_response(encoded({"embedding": {"values": [1]}}), EmbedRequest("m", ("a",))).vectors == ((1.0,),)


@pytest.mark.parametrize("answer", [{}, {"embeddings": [{"values": [1]}]}, {"predictions": [{}]}])
def test_embeddings_that_are_missing_are_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError, match="vectors for 2 texts"):
        EMBED.parse_response(encoded(answer), EmbedRequest("m", ("a", "b")))


# ---------------------------------------------------------------- pictures


def test_gemini_draws_through_generate_content() -> None:
    wish = ImageRequest(
        "gemini-3-pro-image", "a cat", (File("image/png", b"x"),), {"aspect_ratio": "1:1", "size": "2K"}
    )
    request = DRAW.build_request(STUDIO, wish)
    assert request.url == "https://h.example/v1beta/models/gemini-3-pro-image:generateContent"
    picture = {"inlineData": {"mimeType": "image/png", "data": "eA=="}}
    assert json.loads(request.body) == {
        "contents": [{"role": "user", "parts": [{"text": "a cat"}, picture]}],
        "generationConfig": {
            "responseModalities": ["TEXT", "IMAGE"],
            "imageConfig": {"aspectRatio": "1:1", "imageSize": "2K"},
        },
    }


def test_picture_is_read_and_drafts_are_not() -> None:
    data = {"inlineData": {"mimeType": "image/jpeg", "data": "anBn"}}
    answer = {
        "candidates": [
            {"content": {"parts": [data | {"thought": True}, {"text": "here"}, data]}, "finishReason": "STOP"}
        ],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1290},
        "modelVersion": "gemini-3-pro-image",
    }
    found = DRAW.parse_response(encoded(answer))
    assert found.images == (File("image/jpeg", b"jpg"),)
    assert (found.usage, found.model) == (Usage(3, 1290), "gemini-3-pro-image")


def test_imagen_predicts_pictures() -> None:
    wish = ImageRequest("imagen-4.0-generate-001", "a cat", options={"n": 2, "size": "1K", "aspect_ratio": "16:9"})
    request = DRAW.build_request(VERTEX, wish)
    assert request.url == f"{PROJECT}/publishers/google/models/imagen-4.0-generate-001:predict"
    assert json.loads(request.body) == {
        "instances": [{"prompt": "a cat"}],
        "parameters": {"sampleCount": 2, "sampleImageSize": "1K", "aspectRatio": "16:9"},
    }
    answer = {"predictions": [{"bytesBase64Encoded": "cG5n", "mimeType": "image/png"}]}
    assert DRAW.parse_response(encoded(answer)).images == (File("image/png", b"png"),)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ({"promptFeedback": {"blockReason": "SAFETY"}}, RejectedError, "filtered the image: SAFETY"),
        ({"candidates": [{"finishReason": "IMAGE_SAFETY", "finishMessage": "no"}]}, RejectedError, "image: no"),
        ({"predictions": [{"raiFilteredReason": "people"}]}, RejectedError, "image: people"),
        ({"candidates": [{"finishReason": "NO_IMAGE"}]}, UnavailableError, "no image"),
        ({}, UnavailableError, "no image"),
        (BAD_KEY, ConfigError, "not valid"),
    ],
)
def test_missing_picture_says_why(answer: dict[str, Any], kind: type[LlmctlError], words: str) -> None:
    with pytest.raises(kind, match=words):
        DRAW.parse_response(encoded(answer))
