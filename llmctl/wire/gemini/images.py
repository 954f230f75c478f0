"""Images: Gemini models through generateContent, Imagen through predict.

https://ai.google.dev/gemini-api/docs/image-generation, https://ai.google.dev/gemini-api/docs/imagen
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from llmctl.core.chat import File
from llmctl.core.errors import LlmctlError, RejectedError, UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.single_requests import ImageRequest, ImageResponse
from llmctl.wire.gemini.events import parse_usage
from llmctl.wire.gemini.request import build_model_url, encode_file, split_options
from llmctl.wire.requests import build_post
from llmctl.wire.responses import filter_objects, get_object, parse_body, parse_finish_reason, top_level_error

_IMAGE_CONFIG = {"aspect_ratio": "aspectRatio", "aspectRatio": "aspectRatio"} | dict.fromkeys(
    ("size", "image_size", "imageSize"), "imageSize"
)
_PARAMETERS = _IMAGE_CONFIG | {"size": "sampleImageSize", "n": "sampleCount", "negative_prompt": "negativePrompt"}


def build_image_request(endpoint: Endpoint, request: ImageRequest) -> HttpRequest:
    """Return the request. ``size`` is Google's (1K, 2K, 4K), ``aspect_ratio`` such as 16:9."""
    imagen = request.model.removeprefix("models/").startswith("imagen")
    body = _build_imagen_body(request) if imagen else _build_gemini_body(request)
    return build_post(
        endpoint, build_model_url(endpoint, request.model, "predict" if imagen else "generateContent"), body
    )


def parse_image_response(body: bytes) -> ImageResponse:
    """Return the images. Raises RejectedError if they were filtered, UnavailableError if there are none."""
    answer = parse_body(body)
    if error := top_level_error(answer):
        raise error
    images = tuple(_iter_images(answer))
    if not images:
        raise _no_image_error(answer)
    model = answer.get("modelVersion")
    usage = parse_usage(get_object(answer, "usageMetadata"))
    return ImageResponse(images, usage, model=model if isinstance(model, str) else None)


def _build_gemini_body(request: ImageRequest) -> dict[str, Any]:
    options = dict(request.options)
    image = {theirs: options.pop(name) for name, theirs in _IMAGE_CONFIG.items() if name in options}
    inside, outside = split_options(options)
    config = {"responseModalities": ["TEXT", "IMAGE"]} | ({"imageConfig": image} if image else {}) | inside
    parts = [{"text": request.prompt}, *map(encode_file, request.files)]
    return {"contents": [{"role": "user", "parts": parts}], "generationConfig": config} | outside


def _build_imagen_body(request: ImageRequest) -> dict[str, Any]:
    parameters = {_PARAMETERS.get(name, name): value for name, value in request.options.items()}
    return {"instances": [{"prompt": request.prompt}], "parameters": {"sampleCount": 1} | parameters}


def _iter_images(answer: Mapping[str, Any]) -> Iterator[File]:
    for candidate in filter_objects(answer.get("candidates")):
        for part in filter_objects(get_object(candidate, "content").get("parts")):
            data = get_object(part, "inlineData")
            if data.get("data") and not part.get("thought"):
                yield _decode_image(data.get("mimeType"), data["data"])
    for prediction in filter_objects(answer.get("predictions")):
        if encoded := prediction.get("bytesBase64Encoded"):
            yield _decode_image(prediction.get("mimeType"), encoded)


def _decode_image(media_type: Any, encoded: Any) -> File:
    kind = media_type if media_type and isinstance(media_type, str) else "image/png"
    try:
        return File(kind, data=binascii.a2b_base64(encoded))
    except (ValueError, TypeError):
        raise UnavailableError("cannot decode the image", reason="no_answer", status_code=200) from None


def _no_image_error(answer: Mapping[str, Any]) -> LlmctlError:
    """Return the error for a response without images, with the reason if it gives one."""
    feedback = get_object(answer, "promptFeedback")
    candidate = next(iter(filter_objects(answer.get("candidates"))), {})
    prediction = next(iter(filter_objects(answer.get("predictions"))), {})
    filtered = feedback.get("blockReason") or prediction.get("raiFilteredReason")
    word = candidate.get("finishReason")
    if filtered or parse_finish_reason(word) == "content_filter":
        message = feedback.get("blockReasonMessage") or candidate.get("finishMessage") or filtered or word
        return RejectedError(f"the provider filtered the image: {message}", reason="content_filter", status_code=200)
    message = f" ({word})" if word else ""
    return UnavailableError(f"the response has no image{message}", reason="no_answer", status_code=200)
