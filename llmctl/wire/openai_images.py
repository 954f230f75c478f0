"""Pictures as OpenAI has them, and the hosts that copy it.

https://platform.openai.com/docs/api-reference/images
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llmctl.core.errors import UnavailableError
from llmctl.core.events import Usage
from llmctl.core.http import Endpoint, HttpRequest
from llmctl.core.images import ImageRequest, ImageResponse
from llmctl.core.media_types import media_type
from llmctl.core.messages import File
from llmctl.core.stored_json import dumps
from llmctl.wire.files import data_of, url_of_file
from llmctl.wire.json_body import objects_of, whole_object
from llmctl.wire.refusals import stated_error
from llmctl.wire.urls import url_of
from llmctl.wire.usage_numbers import cost_of, count_of, object_in


def build_request(endpoint: Endpoint, request: ImageRequest) -> HttpRequest:
    """Return the request for new pictures, or for changed ones where there are files.

    Files go as a form, or as JSON where the host wants that or has to fetch them itself.
    """
    body: dict[str, Any] = {"model": request.model, "prompt": request.prompt}
    body |= {name: value for name, value in request.options.items() if name not in body}
    if not request.files:
        return _json(endpoint, "/images/generations", body)
    if endpoint.dialect.image_edits == "json":
        images: list[dict[str, Any]] = [{"type": "image_url", "url": url_of_file(file)} for file in request.files]
        return _json(endpoint, "/images/edits", body | {"images": images})
    if any(file.data is None for file in request.files):
        images = [{"image_url": url_of_file(file)} for file in request.files]
        return _json(endpoint, "/images/edits", body | {"images": images})
    return _form(endpoint, "/images/edits", body, request.files)


def parse_response(body: bytes) -> ImageResponse:
    """Return the pictures; UnavailableError where there is none."""
    answer = whole_object(body)
    if error := stated_error(answer):
        raise error
    rows = objects_of(answer.get("data"))
    images = tuple(image for row in rows if (image := _image(row)))
    if not images:
        raise UnavailableError("the answer holds no picture", reason="no_answer", status_code=200)
    prompts = [row["revised_prompt"] for row in rows if isinstance(row.get("revised_prompt"), str)]
    return ImageResponse(images, _usage(answer, len(images)), _text(answer, "model"), next(filter(None, prompts), None))


def _image(row: Mapping[str, Any]) -> File | None:
    said = _text(row, "mime_type")
    if encoded := _text(row, "b64_json"):
        try:
            data = binascii.a2b_base64(encoded.rpartition(",")[2])
        except ValueError:
            return None
        return File(media_type("", data), data=data)
    url = _text(row, "url")
    return File(said or "image/png", url=url) if url else None


def _usage(answer: Mapping[str, Any], images: int) -> Usage | None:
    """Return tokens where the host counts in such, and the number of pictures where it does not say."""
    said = answer.get("usage")
    usage = said if isinstance(said, dict) else {}
    sent, drawn = object_in(usage, "input_tokens_details"), object_in(usage, "output_tokens_details")
    output_tokens = count_of(usage, "output_tokens")
    # Without details all that came is picture.
    of_images = count_of(drawn, "image_tokens") if drawn else output_tokens
    details = {"images": images, "input_image_tokens": count_of(sent, "image_tokens"), "output_image_tokens": of_images}
    return Usage(
        input_tokens=count_of(usage, "input_tokens"),
        output_tokens=output_tokens,
        cost=cost_of(usage),
        details={name: count for name, count in details.items() if count},
    )


def _json(endpoint: Endpoint, path: str, body: Mapping[str, Any]) -> HttpRequest:
    headers = {"content-type": "application/json", "accept": "application/json"} | dict(endpoint.headers)
    return HttpRequest("POST", url_of(endpoint, path), headers, dumps(body).encode("utf-8", "replace"))


def _form(endpoint: Endpoint, path: str, fields: Mapping[str, Any], files: tuple[File, ...]) -> HttpRequest:
    """Return a multipart form (RFC 7578); the boundary follows from the content, so that equal requests are equal."""
    digest = sha256(dumps(dict(fields)).encode("utf-8", "replace"))
    for file in files:
        digest.update(data_of(file))
    boundary = f"form-{digest.hexdigest()[:32]}"
    body = b"".join(_pieces(boundary, fields, files)) + f"--{boundary}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={boundary}", "accept": "application/json"}
    return HttpRequest("POST", url_of(endpoint, path), headers | dict(endpoint.headers), body)


def _pieces(boundary: str, fields: Mapping[str, Any], files: tuple[File, ...]) -> Iterator[bytes]:
    for name, value in fields.items():
        text = value if isinstance(value, str) else dumps(value)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        yield f"{head}{text}\r\n".encode("utf-8", "replace")
    name = "image" if len(files) == 1 else "image[]"
    for number, file in enumerate(files):
        subtype = file.media_type.partition("/")[2] or "png"
        kind = f'form-data; name="{name}"; filename="image-{number + 1}.{subtype}"'
        head = f"--{boundary}\r\nContent-Disposition: {kind}\r\nContent-Type: {file.media_type}\r\n\r\n"
        yield head.encode() + data_of(file) + b"\r\n"


def _text(holder: Mapping[str, Any], name: str) -> str | None:
    value = holder.get(name)
    return value if value and isinstance(value, str) else None
