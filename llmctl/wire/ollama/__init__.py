"""Ollama's own API. Unlike its OpenAI-compatible API it has model options, ``keep_alive`` and control of truncation.

Source: https://docs.ollama.com/api/chat
"""

from llmctl.wire import Embeddings, Wire, lazy_function
from llmctl.wire.ollama.errors import parse_error
from llmctl.wire.ollama.events import parse_response, parse_stream
from llmctl.wire.ollama.messages import accepts
from llmctl.wire.ollama.models import build_models_request, parse_models
from llmctl.wire.ollama.request import build_request

WIRE = Wire(
    name="ollama",
    build_request=build_request,
    parse_response=parse_response,
    parse_stream=parse_stream,
    parse_error=parse_error,
    build_models_request=build_models_request,
    parse_models=parse_models,
    framing="ndjson",
    accepts=accepts,
    embeddings=Embeddings(
        lazy_function("ollama.embeddings", "build_embed_request"),
        lazy_function("ollama.embeddings", "parse_embed_response"),
    ),
)
