"""OpenAI's images API, and the hosts that copy it.

https://platform.openai.com/docs/api-reference/images
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.chat import File, Usage
from llmctl.core.errors import UnavailableError
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.media_types import detect
from llmctl.core.single_requests import ImageRequest, ImageResponse
from llmctl.core.stored_values import dumps
from llmctl.wire.requests import build_file_url, build_post, build_url, require_data
from llmctl.wire.responses import filter_objects, get_object, parse_body, parse_cost, parse_count, top_level_error


def build_image_request(endpoint: Endpoint, request: ImageRequest) -> HttpRequest:
    """Return the request for new images, or for edits if the request has files.

    Files are sent as a form, or as JSON if the host wants that or has to fetch them itself.
    """
    body: dict[str, Any] = {"model": request.model, "prompt": request.prompt}
    body |= {name: value for name, value in request.options.items() if name not in body}
    if not request.files:
        return _json_request(endpoint, "/images/generations", body)
    if endpoint.dialect.image_edits == "json":
        images: list[dict[str, Any]] = [{"type": "image_url", "url": build_file_url(file)} for file in request.files]
        return _json_request(endpoint, "/images/edits", body | {"images": images})
    if any(file.data is None for file in request.files):
        images = [{"image_url": build_file_url(file)} for file in request.files]
        return _json_request(endpoint, "/images/edits", body | {"images": images})
    return _form_request(endpoint, "/images/edits", body, request.files)


def parse_image_response(body: bytes) -> ImageResponse:
    """Return the images; raise UnavailableError if there is none."""
    answer = parse_body(body)
    if error := top_level_error(answer):
        raise error
    rows = filter_objects(answer.get("data"))
    images = tuple(image for row in rows if (image := _parse_image(row)))
    if not images:
        raise UnavailableError("the response has no image", reason="no_answer", status_code=200)
    prompts = [row["revised_prompt"] for row in rows if isinstance(row.get("revised_prompt"), str)]
    return ImageResponse(
        images, _parse_usage(answer, len(images)), _get_text(answer, "model"), next(filter(None, prompts), None)
    )


def _parse_image(row: Mapping[str, Any]) -> File | None:
    declared = _get_text(row, "mime_type")
    if encoded := _get_text(row, "b64_json"):
        try:
            data = binascii.a2b_base64(encoded.rpartition(",")[2])
        except ValueError:
            return None
        return File(detect("", data), data=data)
    url = _get_text(row, "url")
    return File(declared or "image/png", url=url) if url else None


def _parse_usage(answer: Mapping[str, Any], images: int) -> Usage | None:
    """Return the tokens if the host counts them, and the number of images."""
    declared = answer.get("usage")
    usage = declared if isinstance(declared, dict) else {}
    input_details, output_details = (
        get_object(usage, "input_tokens_details"),
        get_object(usage, "output_tokens_details"),
    )
    output_tokens = parse_count(usage, "output_tokens")
    # Without details all output tokens are image tokens.
    image_tokens = parse_count(output_details, "image_tokens") if output_details else output_tokens
    details = {
        "images": images,
        "input_image_tokens": parse_count(input_details, "image_tokens"),
        "output_image_tokens": image_tokens,
    }
    return Usage(
        input_tokens=parse_count(usage, "input_tokens"),
        output_tokens=output_tokens,
        cost=parse_cost(usage),
        details={name: count for name, count in details.items() if count},
    )


def _json_request(endpoint: Endpoint, path: str, body: Mapping[str, Any]) -> HttpRequest:
    return build_post(endpoint, build_url(endpoint, path), body)


def _form_request(endpoint: Endpoint, path: str, fields: Mapping[str, Any], files: tuple[File, ...]) -> HttpRequest:
    """Return a multipart form (RFC 7578); the boundary is derived from the content, so equal requests are identical."""
    digest = sha256(dumps(dict(fields)).encode("utf-8", "replace"))
    for file in files:
        digest.update(require_data(file))
    boundary = f"form-{digest.hexdigest()[:32]}"
    body = b"".join(_iter_form_parts(boundary, fields, files)) + f"--{boundary}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={boundary}", "accept": "application/json"}
    return HttpRequest("POST", build_url(endpoint, path), headers | dict(endpoint.headers), body)


def _iter_form_parts(boundary: str, fields: Mapping[str, Any], files: tuple[File, ...]) -> Iterator[bytes]:
    for name, value in fields.items():
        text = value if isinstance(value, str) else dumps(value)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        yield f"{head}{text}\r\n".encode("utf-8", "replace")
    name = "image" if len(files) == 1 else "image[]"
    for number, file in enumerate(files):
        subtype = file.media_type.partition("/")[2] or "png"
        kind = f'form-data; name="{name}"; filename="image-{number + 1}.{subtype}"'
        head = f"--{boundary}\r\nContent-Disposition: {kind}\r\nContent-Type: {file.media_type}\r\n\r\n"
        yield head.encode() + require_data(file) + b"\r\n"


def _get_text(holder: Mapping[str, Any], name: str) -> str | None:
    value = holder.get(name)
    return value if value and isinstance(value, str) else None
