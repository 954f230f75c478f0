"""Pictures: of Gemini's own models through generateContent, of Imagen through predict.

https://ai.google.dev/gemini-api/docs/image-generation, https://ai.google.dev/gemini-api/docs/imagen
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core.errors import LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.images import ImageRequest, ImageResponse
from llmctl.core.messages import File
from llmctl.wire.gemini.config import split_options
from llmctl.wire.gemini.files import file_part
from llmctl.wire.gemini.finish_reasons import REASONS
from llmctl.wire.gemini.urls import address_of, post
from llmctl.wire.gemini.usage import parse_usage
from llmctl.wire.json_body import objects_of, whole_object
from llmctl.wire.refusals import stated_error
from llmctl.wire.usage_numbers import object_in

_IMAGE_CONFIG = {"aspect_ratio": "aspectRatio", "aspectRatio": "aspectRatio"} | dict.fromkeys(
    ("size", "image_size", "imageSize"), "imageSize"
)
_PARAMETERS = _IMAGE_CONFIG | {"size": "sampleImageSize", "n": "sampleCount", "negative_prompt": "negativePrompt"}


def build_image_request(endpoint: Endpoint, request: ImageRequest) -> HttpRequest:
    """Return the request. ``size`` is Google's (1K, 2K, 4K), ``aspect_ratio`` such as 16:9."""
    imagen = request.model.removeprefix("models/").startswith("imagen")
    body = _predict(request) if imagen else _generate(request)
    return post(endpoint, address_of(endpoint, request.model, "predict" if imagen else "generateContent"), body)


def parse_images(body: bytes) -> ImageResponse:
    """Return the pictures. Raises RejectedError where they were held back, UnavailableError where there are none."""
    answer = whole_object(body)
    if error := stated_error(answer):
        raise error
    images = tuple(_images(answer))
    if not images:
        raise _missing(answer)
    model = answer.get("modelVersion")
    usage = parse_usage(object_in(answer, "usageMetadata"))
    return ImageResponse(images, usage, model=model if isinstance(model, str) else None)


def _generate(request: ImageRequest) -> dict[str, Any]:
    options = dict(request.options)
    image = {theirs: options.pop(name) for name, theirs in _IMAGE_CONFIG.items() if name in options}
    inside, beside = split_options(options)
    config = {"responseModalities": ["TEXT", "IMAGE"]} | ({"imageConfig": image} if image else {}) | inside
    parts = [{"text": request.prompt}, *map(file_part, request.files)]
    return {"contents": [{"role": "user", "parts": parts}], "generationConfig": config} | beside


def _predict(request: ImageRequest) -> dict[str, Any]:
    parameters = {_PARAMETERS.get(name, name): value for name, value in request.options.items()}
    return {"instances": [{"prompt": request.prompt}], "parameters": {"sampleCount": 1} | parameters}


def _images(answer: Mapping[str, Any]) -> Iterator[File]:
    for candidate in objects_of(answer.get("candidates")):
        for part in objects_of(object_in(candidate, "content").get("parts")):
            data = object_in(part, "inlineData")
            if data.get("data") and not part.get("thought"):
                yield _file(data.get("mimeType"), data["data"])
    for prediction in objects_of(answer.get("predictions")):
        if encoded := prediction.get("bytesBase64Encoded"):
            yield _file(prediction.get("mimeType"), encoded)


def _file(media_type: Any, encoded: Any) -> File:
    kind = media_type if media_type and isinstance(media_type, str) else "image/png"
    try:
        return File(kind, data=binascii.a2b_base64(encoded))
    except (ValueError, TypeError):
        raise UnavailableError("the picture cannot be read", reason="no_answer", status_code=200) from None


def _missing(answer: Mapping[str, Any]) -> LlmctlError:
    """Return why there is no picture, as far as the answer says it."""
    feedback = object_in(answer, "promptFeedback")
    candidate = next(iter(objects_of(answer.get("candidates"))), {})
    prediction = next(iter(objects_of(answer.get("predictions"))), {})
    filtered = feedback.get("blockReason") or prediction.get("raiFilteredReason")
    word = candidate.get("finishReason")
    if filtered or REASONS.get(str(word)) == "content_filter":
        said = feedback.get("blockReasonMessage") or candidate.get("finishMessage") or filtered or word
        return RejectedError(f"the provider held the picture back: {said}", reason="content_filter", status_code=200)
    said = f" ({word})" if word else ""
    return UnavailableError(f"the answer holds no picture{said}", reason="no_answer", status_code=200)
