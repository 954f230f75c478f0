"""OpenAI's Responses API, stateless; also implemented by xAI, Azure, OpenRouter and DeepSeek.

Source: https://platform.openai.com/docs/api-reference/responses, and recorded traffic of those hosts.
"""

from llmctl.wire import Embeddings, Images, Wire, lazy_function
from llmctl.wire.errors import parse_error
from llmctl.wire.openai_models import build_models_request, parse_models
from llmctl.wire.openai_responses.events import parse_response, parse_stream
from llmctl.wire.openai_responses.messages import accepts
from llmctl.wire.openai_responses.request import build_request

WIRE = Wire(
    name="openai-responses",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=parse_error,
    build_models_request=build_models_request,
    parse_models=parse_models,
    accepts=accepts,
    embeddings=Embeddings(
        lazy_function("openai_embeddings", "build_embed_request"),
        lazy_function("openai_embeddings", "parse_embed_response"),
    ),
    images=Images(
        lazy_function("openai_images", "build_image_request"), lazy_function("openai_images", "parse_image_response")
    ),
)
