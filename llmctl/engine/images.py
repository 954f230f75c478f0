"""A prompt to pictures. What the host gives as a URL only is fetched, so that pictures are always bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from llmctl.core.errors import UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.images import ImageRequest, ImageResponse
from llmctl.core.messages import File
from llmctl.engine.billing import cost as billing_cost
from llmctl.engine.billing import estimate
from llmctl.engine.billing.budget import Bound
from llmctl.engine.billing.rates import Price, most
from llmctl.engine.chats import url_fetch
from llmctl.engine.single_request import Errand, Question
from llmctl.engine.single_request_runner import Exchange
from llmctl.providers.hosts import host_of
from llmctl.wire import WIRES, Images

#: More than any model needs for one: gpt-image-1 takes 6,240 for its largest.
_TOKENS_OF_A_PICTURE = 20_000


def images_of(errand: Errand) -> Images:
    """Return how the target draws; raise UsageError where its wire has no way to."""
    found = WIRES.load(errand.target.wire).images
    if found is None:
        name = errand.target.connection or errand.target.provider.name
        raise UsageError(
            f'"{name}" speaks {errand.target.wire}, which draws nothing',
            hint="choose another with -m CONNECTION:MODEL",
            reason="no_images",
        )
    return found


def draw(exchange: Exchange, errand: Errand, prompt: str, files: Iterable[File] = ()) -> ImageResponse:
    """Return the pictures as bytes; ``files`` are pictures to begin with."""
    way = images_of(errand)
    request = ImageRequest(errand.target.model, prompt, tuple(files), errand.options)
    http = way.build_request(exchange.endpoint, request)
    question = Question(http, _kept(way, exchange, request, http), lambda price: _bound(price, errand, request))
    answer = exchange.ask(question, way.parse_response)
    return replace(answer, images=tuple(_whole(image, errand) for image in answer.images))


def _kept(way: Images, exchange: Exchange, request: ImageRequest, http: HttpRequest) -> str:
    """Return the body without the content of files."""
    if request.files:
        files = tuple(replace(file, data=b"") if file.data else file for file in request.files)
        http = way.build_request(exchange.endpoint, replace(request, files=files))
    return http.body.decode("utf-8", "replace")


def _whole(image: File, errand: Errand) -> File:
    if image.data is not None or image.url is None:
        return image
    # A server of the user's own may give addresses below itself; no other private one is fetched.
    own = host_of(image.url) == host_of(errand.target.base_url)
    around = errand.around._replace(private_fetch=True) if own else errand.around
    found = url_fetch.fetch(image.url, around)
    return replace(image, data=found.data, media_type=found.media_type)


def _bound(price: Price, errand: Errand, request: ImageRequest) -> Bound | None:
    pictures = _count(request.options)
    tokens_in = estimate.input_tokens(request.prompt.encode("utf-8", "replace"), request.files, None)
    tokens_out = pictures * _TOKENS_OF_A_PICTURE
    of_pictures = max((rate for _, rate in price.rates.get("image", ())), default=0.0) * pictures
    context, moment = billing_cost.context_of(errand.options), datetime.now(UTC)
    cost = most(price, tokens_in, tokens_out, with_files=True, context=context, moment=moment)
    if cost is None:
        return Bound(0, 0, of_pictures, 0.0) if of_pictures else None
    return Bound(tokens_in, tokens_out, cost + of_pictures, 0.0)


def _count(options: Mapping[str, Any]) -> int:
    count = options.get("n", 1)
    return count if isinstance(count, int) and count > 0 else 1
