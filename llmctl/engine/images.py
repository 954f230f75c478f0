"""Make images. What the host gives only as a URL is fetched, so that images are always bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from llmctl.core.chat import File
from llmctl.core.errors import UsageError
from llmctl.core.http import HttpRequest
from llmctl.core.single_requests import ImageRequest, ImageResponse
from llmctl.engine.billing import cost as billing_cost
from llmctl.engine.billing.cost import CostEstimate
from llmctl.engine.chats import attachments
from llmctl.engine.models import rates
from llmctl.engine.models.rates import Price, max_cost
from llmctl.engine.single_request import PreparedRequest, SingleRequestPlan, SingleRequestRunner
from llmctl.providers import parse_host
from llmctl.wire import WIRES, Images

#: More than any model needs for one image: gpt-image-1 takes 6,240 for its largest.
_TOKENS_PER_IMAGE = 20_000


def require_images(plan: SingleRequestPlan) -> Images:
    """Return the image requests of the target's wire; raise UsageError where it has none."""
    images = WIRES.load(plan.target.wire).images
    if images is None:
        name = plan.target.connection or plan.target.provider.name
        raise UsageError(
            f'"{name}" cannot make images (wire {plan.target.wire})',
            hint="choose another with -m CONNECTION:MODEL",
            reason="no_images",
        )
    return images


def make_images(
    runner: SingleRequestRunner, plan: SingleRequestPlan, prompt: str, files: Iterable[File] = ()
) -> ImageResponse:
    """Return images as bytes; ``files`` are images to start from."""
    images = require_images(plan)
    request = ImageRequest(plan.target.model, prompt, tuple(files), plan.model_options)
    http = images.build_request(runner.endpoint, request)
    body = _stored_body(images, runner, request, http)
    prepared = PreparedRequest(http, body, lambda price: _estimate_cost(price, plan, request))
    answer = runner.send(prepared, images.parse_response)
    return answer.replace(images=tuple(_with_content(image, plan) for image in answer.images))


def _stored_body(images: Images, runner: SingleRequestRunner, request: ImageRequest, http: HttpRequest) -> str:
    """Return the body without the content of files."""
    if request.files:
        files = tuple(file.replace(data=b"") if file.data else file for file in request.files)
        http = images.build_request(runner.endpoint, request.replace(files=files))
    return http.body.decode("utf-8", "replace")


def _with_content(image: File, plan: SingleRequestPlan) -> File:
    if image.data is not None or image.url is None:
        return image
    # A private address is fetched only from the target's own host, which may be a server of the user.
    is_own_host = parse_host(image.url) == parse_host(plan.target.base_url)
    runtime = plan.runtime.replace(private_fetch=True) if is_own_host else plan.runtime
    fetched = attachments.fetch_url(image.url, runtime)
    return image.replace(data=fetched.data, media_type=fetched.media_type)


def _estimate_cost(price: Price, plan: SingleRequestPlan, request: ImageRequest) -> CostEstimate | None:
    count = _image_count(request.options)
    input_tokens = rates.max_input_tokens(request.prompt.encode("utf-8", "replace"), request.files, None)
    output_tokens = count * _TOKENS_PER_IMAGE
    image_cost = max((rate for _, rate in price.rates.get("image", ())), default=0.0) * count
    context, moment = billing_cost.price_context(plan.model_options), datetime.now(UTC)
    cost = max_cost(price, input_tokens, output_tokens, with_files=True, context=context, moment=moment)
    if cost is None:
        return CostEstimate(0, 0, image_cost, 0.0) if image_cost else None
    return CostEstimate(input_tokens, output_tokens, cost + image_cost, 0.0)


def _image_count(options: Mapping[str, Any]) -> int:
    count = options.get("n", 1)
    return count if isinstance(count, int) and count > 0 else 1
