"""OpenAI's Chat Completions, and its variants on some thirty hosts.

Source: https://platform.openai.com/docs/api-reference/chat, and recorded traffic of those hosts.
"""

from llmctl.wire import Embeddings, Images, Wire, lazy_function
from llmctl.wire.errors import parse_error
from llmctl.wire.openai_chat.events import parse_response, parse_stream
from llmctl.wire.openai_chat.messages import accepts
from llmctl.wire.openai_chat.request import build_request
from llmctl.wire.openai_models import build_models_request, parse_models

WIRE = Wire(
    name="openai-chat",
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
