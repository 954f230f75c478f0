"""OpenAI's Chat Completions, and what some thirty hosts have made of it.

Source: https://platform.openai.com/docs/api-reference/chat, and what those hosts were seen to send.
"""

from llmctl.wire import Embeddings, Images, Wire, later
from llmctl.wire.openai_chat.messages import accepts
from llmctl.wire.openai_chat.request import build_request
from llmctl.wire.openai_chat.response import parse_response
from llmctl.wire.openai_chat.stream import parse_stream
from llmctl.wire.openai_models import build_models_request, parse_models
from llmctl.wire.refusals import parse_error

WIRE = Wire(
    name="openai-chat",
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
