"""OpenAI's Responses, without anything kept at the provider; spoken by xAI, Azure, OpenRouter and DeepSeek, too.

Source: https://platform.openai.com/docs/api-reference/responses, and what those hosts were seen to send.
"""

from llmctl.wire import Embeddings, Images, Wire, later
from llmctl.wire.openai_models import build_models_request, parse_models
from llmctl.wire.openai_responses.items import accepts
from llmctl.wire.openai_responses.request import build_request
from llmctl.wire.openai_responses.response import parse_response
from llmctl.wire.openai_responses.stream import parse_stream
from llmctl.wire.refusals import parse_error

WIRE = Wire(
    name="openai-responses",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=parse_error,
    build_models_request=build_models_request,
    parse_models=parse_models,
    accepts=accepts,
    embeddings=Embeddings(later("openai_embeddings", "build_request"), later("openai_embeddings", "parse_response")),
    images=Images(later("openai_images", "build_request"), later("openai_images", "parse_response")),
)
