"""OpenAI's Responses API, stateless; also implemented by xAI, Azure, OpenRouter and DeepSeek.

Source: https://platform.openai.com/docs/api-reference/responses, and recorded traffic of those hosts.
"""

from llmctl.core.registry import LazyFunction
from llmctl.wire import Embeddings, Images, Wire
from llmctl.wire.openai_responses.events import parse_response, parse_stream
from llmctl.wire.openai_responses.request import TOOL_NAMES, accepts, build_request

WIRE = Wire(
    name="openai-responses",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=LazyFunction("llmctl.wire.errors:parse_error"),
    build_models_request=LazyFunction("llmctl.wire.openai_models:build_models_request"),
    parse_models=LazyFunction("llmctl.wire.openai_models:parse_models"),
    accepts=accepts,
    tool_names=TOOL_NAMES,
    embeddings=Embeddings(
        LazyFunction("llmctl.wire.openai_embeddings:build_embed_request"),
        LazyFunction("llmctl.wire.openai_embeddings:parse_embed_response"),
    ),
    images=Images(
        LazyFunction("llmctl.wire.openai_images:build_image_request"),
        LazyFunction("llmctl.wire.openai_images:parse_image_response"),
    ),
)
